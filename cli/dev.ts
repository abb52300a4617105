// `firefly dev`: the game under wrangler's miniflare, edge and core in one local workerd, without an account or a network.

import { Command } from 'commander'
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { OptionError } from './options.ts'
import { onParentEnded } from './parent.ts'

const WRANGLER_ARGS = ['dev', '--env=', '--ip', '127.0.0.1', '--show-interactive-dev-session=false']
/** Without them wrangler sends statistics, and fetches request properties and its newest version from the network. */
const OFFLINE = { WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_HIDE_BANNER: 'true' }

/** The `dev` command. */
export function devCommand(): Command {
  return new Command('dev')
    .description("serve the game of this folder in Cloudflare's runtime, as wrangler.toml describes it")
    .argument('[args...]', 'for `wrangler dev`, such as --port 8787')
    .allowUnknownOption()
    .action(runWrangler)
    .exitOverride()
}

/** @throws OptionError: wrangler is not installed in this folder */
async function runWrangler(args: readonly string[]): Promise<void> {
  const wrangler = findWrangler()
  if (wrangler === null) throw new OptionError('wrangler is not installed in this folder; run npm install')
  const child = spawn(process.execPath, [wrangler, ...WRANGLER_ARGS, ...args], {
    stdio: 'inherit',
    env: { ...process.env, ...OFFLINE },
  })
  let isStopping = false
  const stop = (): void => {
    isStopping = true
    child.kill('SIGTERM')
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  onParentEnded(() => isStopping || stop())
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    // wrangler reports the signal, which was a request and no failure.
    child.on('close', (code) => resolve(isStopping ? 0 : (code ?? 1)))
  })
}

/** The script of the wrangler that the working folder has; null = none. */
export function findWrangler(): string | null {
  try {
    const manifest = createRequire(join(process.cwd(), 'package.json')).resolve('wrangler/package.json')
    return join(dirname(manifest), 'bin', 'wrangler.js')
  } catch {
    return null
  }
}
