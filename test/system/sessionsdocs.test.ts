// docs/sessions.md: its blocks are the files of a game, which compile against the sources, are served, played and
// sealed. And the limits of docs/operating.md, and who comes again after what (docs/protocol.md), are those of the code.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { finalErrorReason, finalCloseReason } from '../../client/closereason.ts'
import { CODECS } from '../../core/wire/codec.ts'
import { CLOSE_CODES } from '../../core/wire/errors.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS, TIMES } from '../../core/wire/limits.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { serve } from '../support/program.ts'

const ROOT = join(import.meta.dirname, '../..')
const run = promisify(execFile)

/** What the page leaves to its reader. */
const ACCOUNTS = `
export const uidOf = async (name: string, password: string): Promise<string | null> =>
  password === 'swordfish' ? name : null
export const platformPlayer = async (ticket: string): Promise<string | null> =>
  /^platform:(\\w+)$/.exec(ticket)?.[1] ?? null
`
const TSCONFIG = {
  extends: join(ROOT, 'tsconfig.json'),
  compilerOptions: { typeRoots: [join(ROOT, 'node_modules/@types')] },
  include: ['*.ts'],
  exclude: [],
}
const PACKAGE = {
  name: 'firefly-game',
  type: 'module',
  exports: {
    '.': './core/game/index.ts',
    './client': './client/index.ts',
    './client/tcp': './client/tcp.ts',
  },
}

/** The blocks as files: the first line of each is a comment with its name. */
function docFiles(): Map<string, string> {
  const page = readFileSync(join(ROOT, 'docs/sessions.md'), 'utf8')
  const files = new Map<string, string>()
  for (const [, code] of page.matchAll(/```ts\n(.*?)```/gs)) {
    const name = /^\/\/ ([a-z]+\.ts)\n/.exec(code!)?.[1]
    assert.ok(name && !files.has(name), `a block begins with the comment that names its file: ${code!.slice(0, 60)}`)
    files.set(name, code!)
  }
  return files
}

/** A project of its own, in which the package is the sources of this one. */
function createProject(): string {
  const folder = mkdtempSync(join(tmpdir(), 'firefly-sessions-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  const own = join(folder, 'node_modules/firefly-game')
  mkdirSync(own, { recursive: true })
  writeFileSync(join(own, 'package.json'), JSON.stringify(PACKAGE))
  for (const part of ['core', 'client', 'schemas']) symlinkSync(join(ROOT, part), join(own, part))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG))
  writeFileSync(join(folder, 'accounts.ts'), ACCOUNTS)
  for (const [name, code] of docFiles()) writeFileSync(join(folder, name), code)
  return folder
}

const folder = createProject()

/** Runs a file of the page against a server, in place of the address that the page names. */
async function runDocFile(file: string, from: string, to: string): Promise<string[]> {
  const code = readFileSync(join(folder, file), 'utf8')
  assert.ok(code.includes(from), `${file} dials ${from}`)
  const copy = join(folder, `run-${file}`)
  writeFileSync(copy, code.replace(from, to))
  const { stdout } = await run(process.execPath, [copy], { timeout: 30_000 })
  return stdout.trim().split('\n')
}

/** One legacy call over TCP; the body as it travels. */
function callLegacy(port: number, command: number, body: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 65_536, (_command, source, start, end) => {
      resolve(source.slice(start, end))
      socket.destroy()
    })
    socket.on('data', (chunk: Buffer) => void decoder.push(chunk))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed without an answer')))
    socket.write(encodeFrame(frameIdentityBytes(DEFAULT_FRAME_IDENTITY), command, body))
  })
}

test('the blocks of docs/sessions.md compile', async () => {
  await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder], { timeout: 60_000 }).catch(
    ({ stdout }: { stdout: string }) => assert.fail(stdout),
  )
})

test('the game of docs/sessions.md is served, and its clients play it over WebSocket and TCP', async () => {
  const program = await serve(folder)
  const socket = `${program.http.replace('http', 'ws')}/ws`
  assert.deepEqual(await runDocFile('client.ts', 'ws://127.0.0.1:8080/ws', socket), [
    'ada hello',
    'mail from ada',
    'left CLOSED',
    'over CLOSED closed by the game',
  ])
  const stream = `tcp://127.0.0.1:${program.tcp.port}`
  assert.deepEqual(await runDocFile('tcp.ts', 'tcp://127.0.0.1:11009', stream), ['WRONG_PASSWORD'])
  assert.equal(await program.stop(), 0)
})

test('the cipher of docs/sessions.md seals what a legacy client says and hears', async () => {
  process.env['GAME_KEY'] = '42'.repeat(32)
  const sealed = join(folder, 'sealed.ts')
  writeFileSync(sealed, `export { default } from './server.ts'\nexport { cipher } from './cipher.ts'\n`)
  const { cipher } = (await import(pathToFileURL(join(folder, 'cipher.ts')).href)) as {
    cipher: CipherFactory
  }
  const { seal, open } = cipher({ remote: '', kind: 'tcp' })
  const codec = CODECS.get('msgpack')!
  const program = await serve(sealed)
  const login = codec.encode({ name: 'ada', password: 'swordfish' })
  const answer = await callLegacy(program.tcp.port, 20, seal(login))
  assert.notDeepEqual(answer, codec.encode({ uid: 'ada' }))
  assert.deepEqual(codec.decode(open(answer)), { uid: 'ada' })
  await assert.rejects(callLegacy(program.tcp.port, 20, login), /closed without an answer/)
  const damaged = seal(login)
  damaged[20]! ^= 1
  await assert.rejects(callLegacy(program.tcp.port, 20, damaged), /closed without an answer/)
  assert.equal(await program.stop(), 0)
})

/** The tables of limits and times, by name: default, what the peer sees, and all that stands in backquotes. */
function limitRows(): Map<string, { value: string; sees: string; quoted: readonly string[] }> {
  const page = readFileSync(join(ROOT, 'docs/operating.md'), 'utf8')
  const section = /## Limits\n(.*?)\n## /s.exec(page)![1]!
  const rows = new Map<string, { value: string; sees: string; quoted: readonly string[] }>()
  for (const [row] of section.matchAll(/^\| `.*$/gm)) {
    const [, , value, , sees] = row.split('|').map((cell) => cell.trim())
    const [name, ...quoted] = [...row.matchAll(/`([^`]+)`/g)].map(([, word]) => word!)
    rows.set(name!, { value: value!, sees: sees!, quoted })
  }
  return rows
}

test('docs/operating.md has every limit and time with its default', () => {
  const rows = limitRows()
  const page = readFileSync(join(ROOT, 'docs/operating.md'), 'utf8')
  assert.ok(rows.size > 30, `${rows.size} rows`)
  const all: Record<string, number> = { ...DEFAULT_LIMITS, ...TIMES }
  for (const [name, { value }] of rows)
    assert.ok(value.startsWith(all[name]?.toLocaleString('en') ?? 'nothing'), `${name} is ${all[name]}, not ${value}`)
  const inner = new Set(['evictMs', 'wakeAheadMs', 'keepMarksMs', 'keepReceiptsMs', 'loadMs'])
  for (const name of Object.keys(TIMES)) assert.ok(rows.has(name) || inner.has(name), `${name} is not told`)
  for (const [name, value] of Object.entries(DEFAULT_LIMITS)) {
    const told = rows.has(name) || page.includes(`\`${name}\` ${value.toLocaleString('en')}`)
    assert.ok(told, `${name} with ${value} does not stand in docs/operating.md`)
  }
})

test('the SDK comes again after the reasons of which docs/protocol.md says so', () => {
  const page = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8')
  for (const [reason, code] of Object.entries(CLOSE_CODES)) {
    const row = page.split('\n').find((line) => line.startsWith(`| ${reason} | ${code} |`))!
    const stream = finalErrorReason(reason, '') === null
    const webSocket = finalCloseReason(`${reason}: why`) === null
    assert.ok(stream || !webSocket, `${reason} is final over TCP only`)
    const told = webSocket ? /^yes(, later)?$/ : stream ? /^WebSocket no; TCP yes$/ : /^no$/
    assert.match(row.split('|').at(-2)!.trim(), told, reason)
  }
})

test('reasons, counters, options and tests that docs/operating.md names exist', () => {
  const sources = ['edge/node/metrics.ts', 'edge/node/server.ts']
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .join('')
  const options = readFileSync(join(ROOT, 'cli/options.ts'), 'utf8')
  for (const [name, { sees, quoted }] of limitRows()) {
    for (const [, reason, code] of sees.matchAll(/([A-Z_]+) (\d{4})/g))
      assert.equal(Number(code), (CLOSE_CODES as Record<string, number>)[reason!], `${name}: ${reason}`)
    for (const word of quoted) {
      if (word.startsWith('--')) assert.ok(options.includes(`'${word} <`), `${name}: ${word}`)
      else if (word.includes('_total')) assert.ok(hasCounter(sources, word), `${name}: ${word}`)
      else if (/^(conformance|system|unit)\//.test(word)) assert.ok(isTest(word), `${name}: ${word}`)
      else assert.match(word, /^(\.\w+|\w+Ms|max\w+)$/, name)
    }
  }
})

function hasCounter(sources: string, word: string): boolean {
  const [, name, label] = /^(\w+)_total(?:\{(\w+)="\w+"\})?$/.exec(word) ?? []
  if (name === undefined || (label !== undefined && !sources.includes(`labelNames: ['${label}']`))) return false
  const key = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  return sources.includes(`firefly_${name}_total`) || sources.includes(`['${key}', `)
}

function isTest(word: string): boolean {
  return [`test/${word}.ts`, `test/${word}.test.ts`].some((file) => existsSync(join(ROOT, file)))
}
