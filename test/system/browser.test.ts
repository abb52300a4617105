// The arena in a real browser, on the Node host and under miniflare: two players see each other move, and a player
// resumes after a cut connection. Screenshots are written to shots/ for visual inspection.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { connect as dialTcp, createServer, type AddressInfo, type Socket } from 'node:net'
import test from 'node:test'
import { build } from 'esbuild'
import { chromium, type Browser, type Page } from 'playwright-core'
import { connect } from '../../client/index.ts'
import { Arena } from '../../examples/arena/contract.ts'
import type { ShipDot } from '../../examples/arena/world.ts'
import { serve, temporaryFolder } from '../support/program.ts'

const CHROMIUM = '/usr/bin/chromium'
type Ship = ShipDot & { readonly nick: string; readonly score: number; readonly away: boolean }

async function launchBrowser(): Promise<Browser> {
  const args = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
  ]
  return chromium.launch({ executablePath: CHROMIUM, args })
}

/** A TCP proxy between a browser and the server that can reset all connections and refuse new ones. */
interface CuttableProxy {
  readonly url: string
  cut(): void
  restore(): void
  close(): void
}

function openCuttableProxy(http: string): Promise<CuttableProxy> {
  const { hostname, port } = new URL(http)
  const sockets = new Set<Socket>()
  let isCut = false
  const resetAll = (): void => {
    for (const socket of sockets) socket.resetAndDestroy()
    sockets.clear()
  }
  const server = createServer((client) => {
    const upstream = dialTcp(Number(port), hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        client.destroy()
        upstream.destroy()
      })
    }
    if (isCut) return resetAll()
    client.pipe(upstream).pipe(client)
  })
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () =>
      resolve({
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        cut: () => {
          isCut = true
          resetAll()
        },
        restore: () => (isCut = false),
        close: () => {
          resetAll()
          server.close()
        },
      }),
    ),
  )
}

async function openPlayerPage(chrome: Browser, url: string, nick: string): Promise<Page> {
  const page = await chrome.newPage({ viewport: { width: 1_280, height: 720 } })
  const errors: string[] = []
  page.on('pageerror', (error) => errors.push(error.message))
  await page.goto(`${url}/?nick=${nick}&auto=1`)
  await page.waitForFunction(
    (name) => (window as Partial<Window>).arena?.ships().some((ship) => ship.nick === name),
    nick,
  )
  assert.deepEqual(errors, [])
  return page
}

async function assertPlayersSeeEachOther(url: string, host: string): Promise<void> {
  mkdirSync('shots', { recursive: true })
  const chrome = await launchBrowser()
  try {
    const ada = await openPlayerPage(chrome, url, 'Ada')
    const bob = await openPlayerPage(chrome, url, 'Bob')
    for (const [page, other] of [
      [ada, 'Bob'],
      [bob, 'Ada'],
    ] as const) {
      await page.waitForFunction((name) => window.arena.ships().some((ship) => ship.nick === name), other)
    }
    // Ada steers; Bob watches. If the ship is destroyed, its respawn counts as movement too.
    const before = await shipOf(bob, 'Ada')
    await ada.keyboard.down('ArrowUp')
    await ada.keyboard.down('ArrowLeft')
    await bob.waitForFunction(
      ({ name, x, y }) => {
        const ship = window.arena.ships().find(({ nick }) => nick === name)
        return ship !== undefined && Math.hypot(ship.x - x, ship.y - y) > 40
      },
      { name: 'Ada', x: before!.x, y: before!.y },
    )
    await ada.keyboard.up('ArrowLeft')
    await ada.keyboard.down('Space')
    await bob.keyboard.down('ArrowUp')
    await ada.waitForFunction(() => window.arena.ping > 0)
    await ada.screenshot({ path: `shots/arena-${host}-ada.png` })
    await bob.screenshot({ path: `shots/arena-${host}-bob.png` })
    await assertPanelWorks(ada, host === 'node' ? 'Node' : 'Cloudflare')
  } finally {
    await chrome.close()
  }
}

/** The panel shows the host and what it measured, opens a second player, and cuts the connection, which resumes. */
async function assertPanelWorks(page: Page, host: string): Promise<void> {
  const hasText = (id: string, pattern: string): Promise<unknown> =>
    page.waitForFunction(
      ([name, source]) => new RegExp(source!).test(document.getElementById(name!)!.textContent),
      [id, pattern],
    )
  await hasText('panel-host', host)
  await hasText('panel-players', '^2 \\+ \\d+ bots$')
  await hasText('panel-turn', '20/s$')
  await hasText('panel-events', '^[1-9]\\d*/s$')
  const [second] = await Promise.all([page.context().waitForEvent('page'), page.click('#second')])
  await hasText('panel-players', '^3 ')
  await second.close()
  await page.click('#cut')
  await page.waitForSelector('body.paused')
  await page.waitForSelector('body:not(.paused)')
  await hasText('panel-resumes', '^1$')
  await page.click('#code')
  await hasText('source-text', 'export default firefly')
}

/** The ship of the player `nick` as `page` sees it. */
function shipOf(page: Page, nick: string): Promise<Ship | undefined> {
  return page.evaluate((name) => window.arena.ships().find((ship) => ship.nick === name), nick)
}

/** Turns the page's ship to the nearest other one and fires, until the returned function is called. */
function startPursuit(page: Page, nick: string): () => Promise<void> {
  const press = (code: string, down: boolean): Promise<void> =>
    down ? page.keyboard.down(code) : page.keyboard.up(code)
  const end = new AbortController()
  const pursue = async (): Promise<void> => {
    await press('Space', true)
    while (!end.signal.aborted) {
      const angle = await page.evaluate((name) => {
        const ships = window.arena.ships()
        const own = ships.find((ship) => ship.nick === name)
        if (!own) return 0
        const distance = (ship: Ship): number => Math.hypot(ship.x - own.x, ship.y - own.y)
        const others = ships.filter((ship) => ship !== own && !ship.dead && !ship.shield)
        const target = others.toSorted((a, b) => distance(a) - distance(b))[0]
        if (!target) return 0
        const turn = Math.atan2(target.y - own.y, target.x - own.x) - own.heading
        return Math.atan2(Math.sin(turn), Math.cos(turn))
      }, nick)
      await press('ArrowLeft', angle < -0.15)
      await press('ArrowRight', angle > 0.15)
    }
    for (const code of ['Space', 'ArrowLeft', 'ArrowRight']) await press(code, false)
  }
  const flight = pursue()
  flight.catch(() => undefined)
  return () => {
    end.abort()
    return flight
  }
}

/** Waits until `page` sees the ship of `nick` in this state. */
async function waitForShipState(page: Page, nick: string, state: { thrust: boolean; away: boolean }): Promise<void> {
  await page.waitForFunction(
    ({ name, thrust, away }) =>
      window.arena
        .ships()
        .some((ship) => ship.nick === name && !ship.dead && ship.thrust === thrust && ship.away === away),
    { name: nick, ...state },
  )
}

async function assertResumesAfterCut(url: string): Promise<void> {
  const chrome = await launchBrowser()
  const proxy = await openCuttableProxy(url)
  const watcher = await connect(`${url.replace('http', 'ws')}/ws`)
  try {
    const events: string[] = []
    watcher.at(Arena).on('joined', ({ nick }) => events.push(`joined ${nick}`))
    watcher.at(Arena).on('left', ({ nick }) => events.push(`left ${nick}`))
    await watcher.at(Arena).enter({ nick: 'Watcher' })
    const bob = await openPlayerPage(chrome, url, 'Bob')
    const ada = await openPlayerPage(chrome, proxy.url, 'Ada')
    const stop = startPursuit(ada, 'Ada')
    await ada.waitForFunction(
      () => window.arena.ships().some((ship) => ship.nick === 'Ada' && ship.score > 0),
      undefined,
      { timeout: 90_000 },
    )
    await stop()
    await ada.keyboard.down('ArrowUp')
    await waitForShipState(bob, 'Ada', { thrust: true, away: false })
    const before = await shipOf(bob, 'Ada')

    proxy.cut()
    await ada.waitForSelector('body.paused')
    await waitForShipState(bob, 'Ada', { thrust: false, away: true })
    assert.equal(await ada.locator('#banner').textContent(), 'connection lost, reconnecting…')
    // Wait for the transitions of banner and canvas.
    await ada.waitForFunction(() => !document.getAnimations().some((animation) => animation instanceof CSSTransition))
    await ada.screenshot({ path: 'shots/arena-node-paused.png' })
    await bob.screenshot({ path: 'shots/arena-node-away.png' })

    proxy.restore()
    await ada.waitForSelector('body:not(.paused)')
    // The key is still pressed.
    await waitForShipState(bob, 'Ada', { thrust: true, away: false })
    const after = await shipOf(bob, 'Ada')
    assert.equal(after?.seat, before?.seat)
    assert.ok(after!.score >= before!.score && before!.score > 0, `${before!.score}, then ${after!.score}`)
    assert.deepEqual(events, ['joined Bob', 'joined Ada'])
  } finally {
    await watcher.close()
    proxy.close()
    await chrome.close()
  }
}

/** CI has a browser, or root to install one. */
const skip = existsSync(CHROMIUM) ? false : `${CHROMIUM} is not installed`

test('two players see each other move on the Node host', { skip }, async () => {
  const program = await serve('examples/arena')
  await assertPlayersSeeEachOther(program.http, 'node')
  assert.equal(await program.stop(), 0)
})

test('a player resumes after a cut connection with the same seat and score', { skip }, async () => {
  const program = await serve('examples/arena')
  await assertResumesAfterCut(program.http)
  assert.equal(await program.stop(), 0)
})

test('two players see each other move under miniflare', { skip }, async () => {
  const state = temporaryFolder()
  const args = ['cli/firefly.ts', 'dev', '--port', '0', '--persist-to', state]
  const bin = `${process.cwd()}/node_modules/.bin`
  const dev = spawn(process.execPath, args, { env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` } })
  const ended = new Promise((resolve) => dev.on('close', resolve))
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let output = ''
      const onOutput = (chunk: Buffer): void => {
        output += chunk.toString()
        const match = /Ready on (http:\/\/\S+)/.exec(output)
        if (match) resolve(match[1]!)
      }
      dev.stdout.on('data', onOutput)
      dev.stderr.on('data', onOutput)
      void ended.then(() => reject(new Error(`wrangler dev ended: ${output}`)))
    })
    await assertPlayersSeeEachOther(url, 'miniflare')
  } finally {
    dev.kill('SIGTERM')
    await ended
  }
})

test(
  'a page learns why it cannot connect: its origin, the path of another server, a closed port',
  { skip },
  async () => {
    const [own, other] = [
      await serve('examples/hello', ['--origins', 'https://game.example']),
      await serve('examples/hello'),
    ]
    const { outputFiles } = await build({
      stdin: { contents: "export { connect } from './client/index.ts'", resolveDir: process.cwd() },
      bundle: true,
      format: 'iife',
      globalName: 'firefly',
      write: false,
    })
    const chrome = await launchBrowser()
    try {
      const page = await chrome.newPage()
      await page.goto(`${own.http}/healthz`)
      await page.addScriptTag({ content: outputFiles[0]!.text })
      const causeOf = (url: string): Promise<string> =>
        page.evaluate(
          (target) => {
            const { firefly } = window as unknown as { firefly: { connect(url: string): Promise<unknown> } }
            return firefly.connect(target).then(
              () => 'connected',
              (error: Error) => error.message,
            )
          },
          url.replace('http', 'ws'),
        )
      const { host, origin } = new URL(own.http)
      const isRefused = `${host} is a Firefly server but refused this WebSocket; its --origins may not allow this page (${origin})`
      assert.equal(await causeOf(`${own.http}/ws`), `ws://${host}/ws: ${isRefused}`)
      assert.match(await causeOf(`${own.http}/wrong`), /answers HTTP 404 at \/wrong instead of a WebSocket: wrong path/)
      assert.match(await causeOf(`${other.http}/wrong`), /answers HTTP but no WebSocket at \/wrong/)
      assert.equal(await other.stop(), 0)
      assert.match(await causeOf(`${other.http}/ws`), /cannot be reached: nothing listens there, or TLS fails/)
    } finally {
      await chrome.close()
    }
    assert.equal(await own.stop(), 0)
  },
)
