// The documents agree with the code: the blocks of docs/sessions.md are the files of a game that compiles and runs, and the
// limits of docs/operating.md and the retry column of docs/protocol.md have the values of the code.

import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { finalErrorReason, finalCloseReason } from '../../client/closereason.ts'
import { CODECS } from '../../core/wire/codec.ts'
import { CLOSE_CODES } from '../../core/wire/errors.ts'
import { DEFAULT_LIMITS, TIMES } from '../../core/wire/limits.ts'
import type { CipherFactory } from '../../core/wire/cipher.ts'
import { createDocProject } from '../support/docproject.ts'
import { commandWithServeOptions } from '../../cli/options.ts'
import { LIMIT_OPTIONS, TIME_OPTIONS } from '../../edge/gateway/limitoptions.ts'
import { callLegacy } from '../support/legacyclient.ts'
import { serve } from '../support/program.ts'

const ROOT = join(import.meta.dirname, '../..')

/** The file that the page leaves to the reader. */
const ACCOUNTS = `
export const uidOf = async (name: string, password: string): Promise<string | null> =>
  password === 'swordfish' ? name : null
export const platformPlayer = async (ticket: string): Promise<string | null> =>
  /^platform:(\\w+)$/.exec(ticket)?.[1] ?? null
`
const project = createDocProject('docs/sessions.md', { 'accounts.ts': ACCOUNTS })
const { folder } = project

/** Runs a file of the page with another address; returns the lines that it prints. */
async function runDocFile(file: string, address: string, newAddress: string): Promise<string[]> {
  const code = readFileSync(join(folder, file), 'utf8')
  assert.ok(code.includes(address), `${file} does not contain ${address}`)
  const copy = join(folder, `run-${file}`)
  writeFileSync(copy, code.replace(address, newAddress))
  return (await project.run([copy])).trim().split('\n')
}

test('docs/sessions.md: the code blocks compile', async () => {
  await project.compile()
})

test('docs/sessions.md: the server runs, and the clients play over WebSocket and TCP', async () => {
  const program = await serve(folder)
  const webSocket = `${program.http.replace('http', 'ws')}/ws`
  assert.deepEqual(await runDocFile('client.ts', 'ws://127.0.0.1:8080/ws', webSocket), [
    'ada hello',
    'mail from ada',
    'left CLOSED',
    'over CLOSED closed by the game',
  ])
  const tcp = `tcp://127.0.0.1:${program.tcp.port}`
  assert.deepEqual(await runDocFile('tcp.ts', 'tcp://127.0.0.1:11009', tcp), ['WRONG_PASSWORD'])
  assert.equal(await program.stop(), 0)
})

test('docs/sessions.md: the cipher encrypts commands and replies of a legacy client', async () => {
  process.env['GAME_KEY'] = '42'.repeat(32)
  const sealed = join(folder, 'sealed.ts')
  writeFileSync(sealed, `export { default } from './server.ts'\nexport { cipher } from './cipher.ts'\n`)
  const { cipher } = (await import(pathToFileURL(join(folder, 'cipher.ts')).href)) as { cipher: CipherFactory }
  const { seal, open } = cipher({ remote: '', kind: 'tcp' })
  const codec = CODECS.get('msgpack')!
  const program = await serve(sealed)
  const login = codec.encode({ name: 'ada', password: 'swordfish' })
  const reply = await callLegacy(program.tcp.port, 20, seal(login))
  assert.notDeepEqual(reply, codec.encode({ uid: 'ada' }))
  assert.deepEqual(codec.decode(open(reply)), { uid: 'ada' })
  await assert.rejects(callLegacy(program.tcp.port, 20, login), /closed with 0 before command 20/)
  const damaged = seal(login)
  damaged[20]! ^= 1
  await assert.rejects(callLegacy(program.tcp.port, 20, damaged), /closed with 0 before command 20/)
  assert.equal(await program.stop(), 0)
})

/** Times that no peer can observe. */
const INNER_TIMES = new Set(['evictMs', 'wakeAheadMs', 'keepMarksMs', 'keepReceiptsMs', 'loadMs'])

interface LimitRow {
  readonly value: string
  /** What the peer receives. */
  readonly receives: string
  /** All texts in backquotes. */
  readonly quoted: readonly string[]
}

/** The rows of both tables by limit or time. */
function limitRows(): Map<string, LimitRow> {
  const page = readFileSync(join(ROOT, 'docs/operating.md'), 'utf8')
  const section = /## Limits\n(.*?)\n## /s.exec(page)![1]!
  const rows = new Map<string, LimitRow>()
  for (const [row] of section.matchAll(/^\| `.*$/gm)) {
    const [, , value, , receives] = row.split('|').map((cell) => cell.trim())
    const [name, ...quoted] = [...row.matchAll(/`([^`]+)`/g)].map(([, word]) => word!)
    rows.set(name!, { value: value!, receives: receives!, quoted })
  }
  return rows
}

test('docs/operating.md: every limit and time has its default', () => {
  const rows = limitRows()
  const page = readFileSync(join(ROOT, 'docs/operating.md'), 'utf8')
  assert.ok(rows.size > 30, `${rows.size} rows`)
  const all: Record<string, number> = { ...DEFAULT_LIMITS, ...TIMES }
  for (const [name, { value }] of rows)
    assert.ok(value.startsWith(all[name]?.toLocaleString('en') ?? 'nothing'), `${name} is ${all[name]}, not ${value}`)
  for (const name of Object.keys(TIMES)) assert.ok(rows.has(name) || INNER_TIMES.has(name), `${name} is missing`)
  for (const [name, value] of Object.entries(DEFAULT_LIMITS)) {
    const isListed = rows.has(name) || page.includes(`\`${name}\` ${value.toLocaleString('en')}`)
    assert.ok(isListed, `${name} with ${value} is missing`)
  }
})

test('docs/operating.md: every limit and time is an option, or a constant with a reason', () => {
  const constants = /The constants, and why they are no options:\n\n(.*?)\n\n/s.exec(
    readFileSync(join(ROOT, 'docs/operating.md'), 'utf8'),
  )![1]!
  const options = new Set<string>(Object.values({ ...LIMIT_OPTIONS, ...TIME_OPTIONS }).map(({ key }) => key)).add(
    'maxPerLoopback',
  )
  for (const name of [...Object.keys(DEFAULT_LIMITS), ...Object.keys(TIMES).filter((name) => !INNER_TIMES.has(name))])
    assert.notEqual(options.has(name), constants.includes(`\`${name}\``), name)
})

test('docs/protocol.md: the retry column is what the SDK does after each close reason', () => {
  const page = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8')
  for (const [reason, code] of Object.entries(CLOSE_CODES)) {
    const row = page.split('\n').find((line) => line.startsWith(`| ${reason} | ${code} |`))!
    const retriesTcp = finalErrorReason(reason, '') === null
    const retriesWebSocket = finalCloseReason(`${reason}: why`) === null
    assert.ok(retriesTcp || !retriesWebSocket, `${reason} is final over TCP only`)
    const expected = retriesWebSocket ? /^yes(, later)?$/ : retriesTcp ? /^WebSocket no; TCP yes$/ : /^no$/
    assert.match(row.split('|').at(-2)!.trim(), expected, reason)
  }
})

test('docs/operating.md: the reasons, counters, options and tests exist', () => {
  const sources = ['edge/node/metrics.ts', 'edge/node/server.ts']
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .join('')
  const { options } = commandWithServeOptions('serve', '', () => Promise.resolve())
  for (const [name, { receives, quoted }] of limitRows()) {
    for (const [, reason, code] of receives.matchAll(/([A-Z_]+) (\d{4})/g))
      assert.equal(Number(code), (CLOSE_CODES as Record<string, number>)[reason!], `${name}: ${reason}`)
    for (const word of quoted) {
      if (word.startsWith('--'))
        assert.ok(
          options.some(({ long }) => long === word),
          `${name}: ${word}`,
        )
      else if (word.includes('_total')) assert.ok(hasCounter(sources, word), `${name}: ${word}`)
      else if (/^(conformance|system|unit)\//.test(word)) assert.ok(isTest(word), `${name}: ${word}`)
      else assert.match(word, /^(\.\w+|\w+Ms|max\w+)$/, name)
    }
  }
})

function hasCounter(sources: string, word: string): boolean {
  const [, name, label] = /^(\w+)_total(?:\{(\w+)="\w+"\})?$/.exec(word) ?? []
  if (name === undefined || (label !== undefined && !sources.includes(`'${label}', () =>`))) return false
  const key = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  return sources.includes(`firefly_${name}_total`) || sources.includes(`['${key}', `)
}

function isTest(word: string): boolean {
  return [`test/${word}.ts`, `test/${word}.test.ts`].some((file) => existsSync(join(ROOT, file)))
}
