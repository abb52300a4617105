// The cases of slow readers at the edge Worker, without the proxy of wrangler's harness, which reads for every client.

import { after } from 'node:test'

import { connect } from '../../client/index.ts'
import { temporaryFolder } from '../support/program.ts'
import { sleepRealTime, waitUntil, webSocketClient } from '../support/sockets.ts'
import { serveWorkerd, type RawWorkerd } from '../support/workerd.ts'
import type { Host } from './host.ts'
import { registerConformance } from './suite.ts'

let running: RawWorkerd | null = null
after(() => running?.child.kill('SIGKILL'))

async function workerdHost(): Promise<Host> {
  running = await serveWorkerd(new URL('fixtures/gameworker.ts', import.meta.url).pathname, temporaryFolder())
  const url = `ws://127.0.0.1:${running.port}/ws`
  const unsupported = (): Promise<never> => Promise.reject(new Error('the objects of raw workerd are not reachable'))
  return {
    name: 'durable',
    cannot: { stream: 'clients have WebSockets only' },
    rawClient: () => webSocketClient(url),
    clientAddress: '127.0.0.1',
    sdkClient: () => connect(url),
    waitUntil,
    sleep: sleepRealTime,
    evictShard: unsupported,
    idleShard: unsupported,
    idleMs: 0,
    abortShard: unsupported,
    close: () => Promise.resolve(),
  }
}

registerConformance('workerd', workerdHost, { missingFeatures: ['stream'], onlyGroup: 'slow readers' })
