// The packed package creates a game by `firefly new`, which runs on Node, passes its type check and is bundled into a Worker.
// TypeScript, wrangler and types come from this checkout, because their download would take most of the time; every runtime
// dependency is installed as a studio installs it.

import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
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
// Else a test runner below this one would report to it and print nothing.
delete env['NODE_TEST_CONTEXT']
// The parent is usually `npm test`, whose variables about this package must not reach the studio's npm.
for (const name of Object.keys(env)) if (/^npm_(package|lifecycle|command)/.test(name)) delete env[name]

/** The version that the test kit is tried with. */
const VITEST_VERSION = '5.1.2'
/** Of the launcher. */
const MIN_NODE = '>=22.18.0'

interface Manifest {
  engines: { node: string }
  homepage: string
  repository: { type: string }
  name: string
  version: string
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

const toolFolder = join(temp, 'tool')
const firefly = join(toolFolder, 'node_modules', '.bin', 'firefly')
const npmInstall = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--omit=dev']
before(async () => {
  // The output of `prepack` comes first, the file name last.
  const packed = await run('npm', ['pack', '--silent', '--pack-destination', temp], root)
  mkdirSync(toolFolder)
  writeFileSync(join(toolFolder, 'package.json'), '{ "private": true, "type": "module" }\n')
  await run('npm', [...npmInstall, join(temp, packed.trim().split('\n').at(-1)!)], toolFolder)
  const output = await run(process.execPath, [firefly, 'new', studioFolder, '--no-install'], toolFolder)
  assert.equal(output, `created studio; next: cd ${studioFolder} && npm install && npm start\n`)
  await run('npm', npmInstall, studioFolder)
  for (const types of ['@cloudflare/workers-types', '@types/node', 'undici-types']) {
    const link = join(studioFolder, 'node_modules', types)
    rmSync(link, { recursive: true, force: true })
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(root, 'node_modules', types), link)
  }
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
    const timer = setTimeout(() => fail('not ready in 60 s'), 60_000)
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

/** The command line of a Node that the framework does not support. */
async function findOldNode(): Promise<string[]> {
  const system = await exec('/usr/bin/node', ['-p', 'process.versions.node']).catch(() => ({ stdout: '99' }))
  return Number.parseInt(system.stdout) < 22 ? ['/usr/bin/node'] : [process.execPath, '--import', FAKE_NODE_18]
}

test('serves the SDK and a legacy client on Node, and exits 0 on SIGTERM', async () => {
  await using server = await serve([process.execPath])
  const { port } = new URL(server.http)
  assert.deepEqual(await greetByFrame(server.tcp, 'Bob'), { text: 'Hello, Bob!' })
  const client = await run('npm', ['run', '--silent', 'client', '--', `ws://127.0.0.1:${port}/ws`], studioFolder)
  assert.equal(client, 'Hello, Ada!\n')
  assert.equal(await server.stop(), 0)
})

test('an old Node starts the packaged one, and forwards signals and exit code', async () => {
  const oldNode = await findOldNode()
  await using server = await serve(oldNode)
  assert.deepEqual(await greetByFrame(server.tcp, 'Eve'), { text: 'Hello, Eve!' })
  assert.equal(await server.stop(), 0)
  await assert.rejects(serve(oldNode, '--nonsense'), /exit 2[^]*unknown option '--nonsense'/)
})

test('serves the page of the game with the client SDK bundled into it', async () => {
  await using server = await serve([process.execPath])
  assert.match(await (await fetch(server.http)).text(), /<title>studio<\/title>[^]*src="main\.js"/)
  const script = await (await fetch(new URL('main.js', server.http))).text()
  assert.match(script, /WebSocket/)
  assert.doesNotMatch(script, /firefly-game/)
  assert.equal(await server.stop(), 0)
})

test('type-checks the game, also without skipLibCheck', async () => {
  const tsc = join(binaries, 'tsc')
  await run('npm', ['run', 'check'], studioFolder)
  for (const project of ['.', 'tsconfig.worker.json', 'page'])
    await run(tsc, ['-p', project, '--skipLibCheck', 'false'], studioFolder)
  writeFileSync(join(studioFolder, 'wrong.ts'), "import game from './server.ts'\nexport const n: number = game\n")
  await assert.rejects(run(tsc, ['-p', '.'], studioFolder), /TS2322: Type 'Game' is not assignable/)
  rmSync(join(studioFolder, 'wrong.ts'))
})

test('npm test runs the test of the game, and fails when the game is wrong', async () => {
  assert.match(await run('npm', ['test'], studioFolder), /pass 1\n[^]*fail 0\n/)
  const server = join(studioFolder, 'server.ts')
  const original = readFileSync(server, 'utf8')
  writeFileSync(server, original.replace('Hello, ', 'Hi, '))
  await assert.rejects(run('npm', ['test'], studioFolder), /Hi, Ada!/)
  writeFileSync(server, original)
})

test('the test kit works with vitest', async () => {
  const folder = join(temp, 'vitest')
  mkdirSync(folder)
  for (const file of ['contract.ts', 'server.ts', 'package.json'])
    writeFileSync(join(folder, file), readFileSync(join(studioFolder, file)))
  writeFileSync(
    join(folder, 'server.test.ts'),
    readFileSync(join(studioFolder, 'test/server.test.ts'), 'utf8')
      .replace("'node:test'", "'vitest'")
      .replaceAll("'../", "'./"),
  )
  const tool = JSON.stringify({ private: true, dependencies: { vitest: VITEST_VERSION } })
  const runner = join(folder, 'runner')
  mkdirSync(runner)
  writeFileSync(join(runner, 'package.json'), tool)
  await run('npm', npmInstall, runner)
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(join(studioFolder, 'node_modules/firefly-game'), join(folder, 'node_modules/firefly-game'))
  symlinkSync(join(runner, 'node_modules/vitest'), join(folder, 'node_modules/vitest'))
  const output = await run(join(runner, 'node_modules/.bin/vitest'), ['run', '--root', folder], folder)
  assert.match(output, /Tests .*1 passed/)
})

test('documents, schemas, changelog and API reference travel in the package', () => {
  const folder = join(toolFolder, 'node_modules/firefly-game')
  for (const file of ['CHANGELOG.md', 'docs/authoring.md', 'docs/decisions/001-calls-carry-the-opening.md'])
    assert.equal(readFileSync(join(folder, file), 'utf8'), readFileSync(join(root, file), 'utf8'))
  assert.match(readFileSync(join(folder, 'dist/api/firefly-game.md'), 'utf8'), /\n## shard\n/)
  assert.match(readFileSync(join(folder, 'schemas/firefly.schema.json'), 'utf8'), /json-schema/)
  const { engines, homepage, repository } = manifestOf(folder)
  assert.deepEqual([engines.node, repository.type], [MIN_NODE, 'git'])
  assert.match(homepage, /^https:/)
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

test('firefly new never writes into a folder that is not empty, and rejects a bad name', async () => {
  await assert.rejects(run(process.execPath, [firefly, 'new', studioFolder], toolFolder), /is not empty/)
  await assert.rejects(run(process.execPath, [firefly, 'new', 'My Game'], toolFolder), /"My Game" is not a valid name/)
})

test('an old Node without the packaged one creates a game with a downloaded one, and serves nothing', async () => {
  const [node, ...flags] = await findOldNode()
  await run(node!, [...flags, firefly, 'new', join(temp, 'old'), '--no-install'], toolFolder)
  assert.equal(manifestOf(join(temp, 'old')).dependencies['node'], manifestOf(root).devDependencies['node'])
  await assert.rejects(
    run(node!, [...flags, firefly, 'serve'], toolFolder),
    /is older than 22\.18; install a newer one/,
  )
})

test('firefly new depends on the released version when it was installed from a registry', async () => {
  const record = join(toolFolder, 'node_modules', '.package-lock.json')
  const original = readFileSync(record, 'utf8')
  const resolved = 'https://packages.example/firefly-game.tgz'
  const lock = JSON.parse(original) as { packages: Record<string, object> }
  lock.packages['node_modules/firefly-game'] = { ...lock.packages['node_modules/firefly-game'], resolved }
  writeFileSync(record, JSON.stringify(lock))
  await run(process.execPath, [firefly, 'new', join(temp, 'duel'), '--no-install'], toolFolder)
  writeFileSync(record, original)
  const { name, dependencies } = manifestOf(join(temp, 'duel'))
  assert.deepEqual([name, dependencies['firefly-game']], ['duel', `^${manifestOf(root).version}`])
})

test('the command prints its help and version, and names the nearest command', async () => {
  assert.match(await run(process.execPath, [firefly], toolFolder), /^Usage: firefly [^]*\n {2}serve /)
  for (const flag of ['-v', '--version', 'version'])
    assert.equal(await run(process.execPath, [firefly, flag], toolFolder), `${manifestOf(root).version}\n`)
  for (const args of [['serv'], ['help', 'serv']])
    await assert.rejects(
      run(process.execPath, [firefly, ...args], toolFolder),
      /unknown command 'serv'\n\(Did you mean serve\?\)/,
    )
})

const HERO = `
import { command, contract, firefly, shard, t, table } from 'firefly-game'
const Hero = contract('hero', { rest: command(1) })
const heroes = table('heroes', { name: t.string(20), level: t.u8 }, { key: 'name', owner: Hero })
export default firefly({ hero: shard(Hero).tables({ heroes }).on('rest', () => {}) })
`

test('firefly migrate plans the tables of Firefly and of a game', { skip: mysql.skip }, async () => {
  writeFileSync(join(studioFolder, 'heroes.ts'), HERO)
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
