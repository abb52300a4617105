// `firefly serve` without rate limits of cost and bytes, because the benchmark measures the path and not its limit. It
// has the same options, so that BENCH_SERVER can name another script.

import { parseArgs } from 'node:util'

import { loadApp } from '../../core/node/app.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { start } from '../../edge/node/server.ts'
import { createTemporaryFolder } from './disk.ts'

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
const server = await start({
  game,
  dir: createTemporaryFolder('path'),
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
