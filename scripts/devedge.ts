// `npm run dev:edge`: the arena under wrangler's miniflare, edge and core in one local workerd, without network.
// Arguments are passed to `wrangler dev`.

import { spawn } from 'node:child_process'

const args = ['dev', '--ip', '127.0.0.1', '--show-interactive-dev-session=false', '--inspector-port', '0']
const env = { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false' }
const wrangler = spawn('wrangler', [...args, ...process.argv.slice(2)], { stdio: 'inherit', env })

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => wrangler.kill(signal))
wrangler.on('error', (error) => {
  console.error(`firefly: wrangler does not start (${error.message}); run npm install`)
  process.exitCode = 1
})
wrangler.on('close', (code) => {
  process.exitCode = code ?? 0
})
