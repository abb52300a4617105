// `firefly serve` without a session's budget of cost and bytes, because a benchmark measures the path and not the limit
// on it. Takes the same options, so that BENCH_SERVER may put another script in its place.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { loadApp } from '../../core/node/app.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { start } from '../../edge/node/server.ts'

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    app: { type: 'string', default: 'examples/echo' },
    http: { type: 'string', default: '0' },
    tcp: { type: 'string', default: '0' },
    'max-body': { type: 'string', default: String(DEFAULT_LIMITS.maxBodyBytes) },
  },
})
const { game } = await loadApp(values.app)
const dir = mkdtempSync(path.join(tmpdir(), 'firefly-bench-'))
process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
const server = await start({
  game,
  dir,
  http: Number(values.http),
  tcp: Number(values.tcp),
  logLevel: 'warn',
  limits: {
    maxBodyBytes: Number(values['max-body']),
    maxCostPerSecond: Infinity,
    maxBytesPerSecond: Infinity,
  },
})
console.log(`firefly ready tcp=${server.tcp.host}:${server.tcp.port} pid=${process.pid}`)
process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)))
