// The packed package, installed in an empty folder, runs the template's game on Node, passes its type check and bundles
// it into a Worker. TypeScript, wrangler and the types of workerd come from this checkout, because their download would
// take most of the time; every runtime dependency is installed as a studio installs it.

import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'

import { msgpack } from '../../core/wire/codec.ts'
import { openTestDatabase } from '../support/database.ts'
import { callLegacy } from '../support/legacyclient.ts'

const root = dirname(dirname(import.meta.dirname))
const binaries = join(root, 'node_modules', '.bin')
const mysql = await openTestDatabase()
const temp = mkdtempSync(join(tmpdir(), 'firefly-pack-'))
const studioFolder = join(temp, 'studio')
/** wrangler runs without metrics and prompts; npm's scripts and its shebangs use the checkout's Node. */
const env: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${binaries}:${process.env['PATH']}`,
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
}
// The parent is usually `npm test`, whose variables about this package must not reach the studio's npm.
for (const name of Object.keys(env)) if (/^npm_(package|lifecycle|command)/.test(name)) delete env[name]

interface Manifest {
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
}
const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

const exec = promisify(execFile)
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await exec(command, args, { cwd, env, timeout: 120_000, maxBuffer: 16 * 1_048_576 })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    const output = `${stdout ?? ''}${stderr ?? ''}`
    throw new Error(`${command} ${args.join(' ')} failed\n${output}`, { cause: error })
  }
}

let tarball = ''
before(async () => {
  // The output of `prepack` comes first, the file name last.
  const packed = await run('npm', ['pack', '--silent', '--pack-destination', temp], root)
  tarball = join(temp, packed.trim().split('\n').at(-1)!)
  mkdirSync(studioFolder)
  writeFileSync(join(studioFolder, 'package.json'), '{ "private": true, "type": "module" }\n')
  await run('npm', ['install', tarball, '--prefer-offline', '--no-audit', '--no-fund'], studioFolder)
  const manifest = readFileSync(join(studioFolder, 'package.json'))
  cpSync(join(studioFolder, 'node_modules', 'firefly-game', 'deploy', 'template'), studioFolder, { recursive: true })
  writeFileSync(join(studioFolder, 'package.json'), manifest)
  mkdirSync(join(studioFolder, 'node_modules', '@cloudflare'), { recursive: true })
  const types = join('node_modules', '@cloudflare', 'workers-types')
  symlinkSync(join(root, types), join(studioFolder, types))
})

const running = new Set<ChildProcess>()
after(() => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(temp, { recursive: true, force: true })
})

interface RunningProgram extends AsyncDisposable {
  readonly http: string
  readonly tcp: { readonly host: string; readonly port: number }
  /** Sends SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
}

/** Starts `firefly serve` of the installed package under a given Node. */
async function serve([node, ...flags]: readonly string[], ...args: string[]): Promise<RunningProgram> {
  const bin = join(studioFolder, 'node_modules', '.bin', 'firefly')
  const ports = ['--http', '0', '--tcp', '0']
  const child = spawn(node!, [...flags, bin, 'serve', '--app', '.', ...ports, ...args], { cwd: studioFolder, env })
  running.add(child)
  let output = ''
  const exited = new Promise<number | null>((resolve) => {
    child.on('close', (code) => {
      running.delete(child)
      resolve(code)
    })
  })
  const line = await new Promise<RegExpExecArray>((resolve, reject) => {
    const fail = (reason: string): void => {
      clearTimeout(timer)
      reject(new Error(`firefly serve: ${reason}\n${output}`))
    }
    const timer = setTimeout(() => fail('not ready in 30 s'), 30_000)
    const onOutput = (chunk: Buffer): void => {
      output += chunk.toString()
      const ready = /^firefly ready http=(\S+) tcp=(\S+):(\d+) pid=(\d+)$/m.exec(output)
      if (!ready) return
      clearTimeout(timer)
      resolve(ready)
    }
    child.stdout.on('data', onOutput)
    child.stderr.on('data', onOutput)
    child.on('error', (error) => fail(error.message))
    void exited.then((code) => fail(`exit ${code}`))
  })
  return {
    http: line[1]!,
    tcp: { host: line[2]!, port: Number(line[3]) },
    stop: () => {
      child.kill('SIGTERM')
      return exited
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** One call of a legacy client. */
async function greetByFrame({ port }: RunningProgram['tcp'], name: string): Promise<unknown> {
  return msgpack.decode(await callLegacy(port, 1, msgpack.encode({ name })))
}

/** Reports this Node as version 18 to the launcher, if the system has no old Node. */
const FAKE_NODE_18 =
  'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"18.0.0"}});' +
  'delete process.execve'

const CLIENT = `
import { connect } from 'firefly-game/client'
import { Hello } from './contract.ts'
await using game = await connect(process.argv[2]!)
console.log((await game.at(Hello).greet({ name: 'Ada' })).text)
`

test('serves the SDK and a legacy client on Node, and exits 0 on SIGTERM', async () => {
  await using server = await serve([process.execPath])
  const { port } = new URL(server.http)
  assert.deepEqual(await greetByFrame(server.tcp, 'Bob'), { text: 'Hello, Bob!' })
  writeFileSync(join(studioFolder, 'client.mts'), CLIENT)
  const output = await run(process.execPath, ['client.mts', `ws://127.0.0.1:${port}/ws`], studioFolder)
  rmSync(join(studioFolder, 'client.mts'))
  assert.equal(output, 'Hello, Ada!\n')
  assert.equal(await server.stop(), 0)
})

test('an old Node starts the packaged one, and forwards signals and exit code', async () => {
  const system = await exec('/usr/bin/node', ['-p', 'process.versions.node']).catch(() => ({ stdout: '99' }))
  const oldNode = Number.parseInt(system.stdout) < 22 ? ['/usr/bin/node'] : [process.execPath, '--import', FAKE_NODE_18]
  await using server = await serve(oldNode)
  assert.deepEqual(await greetByFrame(server.tcp, 'Eve'), { text: 'Hello, Eve!' })
  assert.equal(await server.stop(), 0)
  await assert.rejects(serve(oldNode, '--nonsense'), /exit 2[^]*unknown option '--nonsense'/)
})

test('bundles the client SDK of the installed package into a page of the studio', async () => {
  const page = join(studioFolder, 'page')
  mkdirSync(page)
  writeFileSync(join(page, 'index.html'), '<script type="module" src="/main.js"></script>')
  const main = CLIENT.replace('./contract.ts', '../contract.ts').replace('process.argv[2]!', "'/ws'")
  writeFileSync(join(page, 'main.ts'), main.replace('await using', 'const'))
  await using server = await serve([process.execPath])
  rmSync(page, { recursive: true })
  const script = await (await fetch(new URL('/main.js', server.http))).text()
  assert.match(script, /WebSocket/)
  assert.doesNotMatch(script, /firefly-game/)
  assert.equal(await server.stop(), 0)
})

test('type-checks the game, also without skipLibCheck', async () => {
  const tsc = join(binaries, 'tsc')
  await run(tsc, ['-p', '.'], studioFolder)
  await run(tsc, ['-p', '.', '--skipLibCheck', 'false'], studioFolder)
  writeFileSync(join(studioFolder, 'wrong.ts'), "import game from './server.ts'\nexport const n: number = game\n")
  await assert.rejects(run(tsc, ['-p', '.'], studioFolder), /TS2322: Type 'Game' is not assignable/)
  rmSync(join(studioFolder, 'wrong.ts'))
})

test('wrangler deploy --dry-run bundles the game into the core and not into the edge', async () => {
  const bundle = async (environment: string, file: string): Promise<string> => {
    const out = join(temp, `worker-${environment}`)
    const args = ['deploy', '--dry-run', '--outdir', out, `--env=${environment}`]
    await run(join(binaries, 'wrangler'), args, studioFolder)
    return readFileSync(join(out, file), 'utf8')
  }
  const game = /Hello, \$\{name\}!/
  assert.match(await bundle('', 'worker.js'), game)
  assert.match(await bundle('core', 'worker.js'), game)
  assert.doesNotMatch(await bundle('edge', 'edge.js'), game)
})

test('firefly new creates a game with its own name, and never writes into a folder that is not empty', async () => {
  const firefly = join(studioFolder, 'node_modules', '.bin', 'firefly')
  const output = await run(process.execPath, [firefly, 'new', join(temp, 'duel')], studioFolder)
  assert.match(output, /^created duel; next: cd /)
  const manifest = JSON.parse(readFileSync(join(temp, 'duel', 'package.json'), 'utf8')) as { name: string }
  assert.equal(manifest.name, 'duel')
  await assert.rejects(run(process.execPath, [firefly, 'new', join(temp, 'duel')], studioFolder), /is not empty/)
})

const HERO = `
import { command, contract, firefly, shard, t, table } from 'firefly-game'
const Hero = contract('hero', { rest: command(1) })
const heroes = table('heroes', { name: t.string(20), level: t.u8 }, { key: 'name', owner: Hero })
export default firefly({ hero: shard(Hero).tables({ heroes }).on('rest', () => {}) })
`

test('firefly migrate plans the tables of Firefly and of a game', { skip: mysql.skip }, async () => {
  writeFileSync(join(studioFolder, 'heroes.ts'), HERO)
  const firefly = join(studioFolder, 'node_modules', '.bin', 'firefly')
  const args = [firefly, 'migrate', 'plan', '--app', 'heroes.ts', '--mysql', mysql.url]
  const output = await run(process.execPath, args, studioFolder)
  rmSync(join(studioFolder, 'heroes.ts'))
  assert.match(output, /^CREATE TABLE IF NOT EXISTS firefly_owner \($/m)
  assert.match(output, /^CREATE TABLE `heroes` \($/m)
})

test('the template requires the tool versions that this checkout is tested with', () => {
  const own = manifestOf(root)
  for (const [name, version] of Object.entries(manifestOf(join(root, 'deploy', 'template')).devDependencies))
    assert.equal(version, own.devDependencies[name], name)
})
