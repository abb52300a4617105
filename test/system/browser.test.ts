// The arena in a real browser, on the Node host and under miniflare: two players see each other move. The pictures
// go to shots/, for eyes.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import test from 'node:test'
import { chromium, type Browser, type Page } from 'playwright-core'
import { serve, temporaryFolder } from './program.ts'

const CHROMIUM = '/usr/bin/chromium'
/** What the page offers to tests. */
interface ArenaWindow {
  readonly arena: {
    readonly seat: number
    readonly ping: number
    ships(): { seat: number; x: number; y: number; nick: string }[]
  }
}

async function browser(): Promise<Browser> {
  const args = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
  ]
  return chromium.launch({ executablePath: CHROMIUM, args })
}

async function player(chrome: Browser, url: string, nick: string): Promise<Page> {
  const page = await chrome.newPage({ viewport: { width: 1_280, height: 720 } })
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  await page.goto(`${url}/?nick=${nick}&auto=1`)
  await page.waitForFunction(
    (name) => (window as unknown as ArenaWindow).arena?.ships().some((ship) => ship.nick === name),
    nick,
  )
  assert.deepEqual(problems, [])
  return page
}

/** Where `page` sees the player of that name. */
function where(page: Page, nick: string): Promise<{ x: number; y: number } | undefined> {
  return page.evaluate(
    (name) => (window as unknown as ArenaWindow).arena.ships().find((ship) => ship.nick === name),
    nick,
  )
}

async function play(url: string, host: string): Promise<void> {
  mkdirSync('shots', { recursive: true })
  const chrome = await browser()
  try {
    const ada = await player(chrome, url, 'Ada')
    const bob = await player(chrome, url, 'Bob')
    for (const [page, other] of [
      [ada, 'Bob'],
      [bob, 'Ada'],
    ] as const) {
      await page.waitForFunction(
        (name) => (window as unknown as ArenaWindow).arena.ships().some((ship) => ship.nick === name),
        other,
      )
    }
    // Ada steers; Bob watches. A ship that was shot on the way comes back, which is movement as well.
    const before = await where(bob, 'Ada')
    await ada.keyboard.down('ArrowUp')
    await ada.keyboard.down('ArrowLeft')
    await bob.waitForFunction(
      ({ name, x, y }) => {
        const ship = (window as unknown as ArenaWindow).arena.ships().find(({ nick }) => nick === name)
        return ship !== undefined && Math.hypot(ship.x - x, ship.y - y) > 40
      },
      { name: 'Ada', x: before!.x, y: before!.y },
    )
    await ada.keyboard.up('ArrowLeft')
    await ada.keyboard.down('Space')
    await bob.keyboard.down('ArrowUp')
    await ada.waitForFunction(() => (window as unknown as ArenaWindow).arena.ping > 0)
    await ada.screenshot({ path: `shots/arena-${host}-ada.png` })
    await bob.screenshot({ path: `shots/arena-${host}-bob.png` })
  } finally {
    await chrome.close()
  }
}

/** Without a browser and without root to install one there is nothing to test; CI has both. */
const skip = existsSync(CHROMIUM) ? false : `${CHROMIUM} is not installed`

test('two players see each other move on the Node host', { skip }, async () => {
  const program = await serve('examples/arena')
  await play(program.http, 'node')
  assert.equal(await program.stop(), 0)
})

test('two players see each other move under miniflare', { skip }, async () => {
  const state = temporaryFolder()
  const args = ['scripts/dev-edge.ts', '--port', '0', '--persist-to', state]
  const bin = `${process.cwd()}/node_modules/.bin`
  const dev = spawn(process.execPath, args, {
    env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
  })
  const ended = new Promise((resolve) => dev.on('close', resolve))
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let output = ''
      const listen = (chunk: Buffer): void => {
        output += chunk.toString()
        const match = /Ready on (http:\/\/\S+)/.exec(output)
        if (match) resolve(match[1]!)
      }
      dev.stdout.on('data', listen)
      dev.stderr.on('data', listen)
      void ended.then(() => reject(new Error(`wrangler dev ended: ${output}`)))
    })
    await play(url, 'miniflare')
  } finally {
    dev.kill('SIGTERM')
    await ended
  }
})
