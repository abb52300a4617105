// WebSocket clients of other ecosystems with their default limits: what waits for them and the largest ordinary answer arrive
// on both hosts, in messages that they accept.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'

import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { godot, java, netty, type Program as DebianProgram } from '../../scripts/install.mjs'
import { serve, temporaryFolder, type Program } from '../support/program.ts'
import { serveWorkerd, type RawWorkerd } from '../support/workerd.ts'

const FIXTURES = join(import.meta.dirname, 'fixtures')
/** 280 KB wait for the client at once. */
const EVENTS = 280
const EVENT_BYTES = 1_000
/** An answer of this size is the largest ordinary one: whoever may send it may receive it. */
const ECHO_BYTES = DEFAULT_LIMITS.maxBodyBytes
const CLIENT_MS = 60_000

interface ClientReport {
  readonly events: number
  readonly echoed: number
  readonly largestMessage: number
  /** '' = none. */
  readonly problem: string
}

const NETTY_JARS = ['buffer', 'codec', 'codec-http', 'common', 'handler', 'resolver', 'transport']
const classPath = NETTY_JARS.map((name) => `/usr/share/java/netty-${name}.jar`).join(':')
const CLIENTS: readonly {
  readonly name: string
  readonly needs: readonly DebianProgram[]
  readonly command: readonly [string, ...string[]]
}[] = [
  {
    name: 'Netty',
    needs: [java, netty],
    command: ['java', '-XX:TieredStopAtLevel=1', '-cp', classPath, join(FIXTURES, 'clients/NettyClient.java')],
  },
  { name: 'Godot 3', needs: [godot], command: ['godot3-server', '--script', join(FIXTURES, 'clients/godot.gd')] },
]

let node: Promise<Program> | null = null
let workerd: Promise<RawWorkerd> | null = null
after(async () => {
  await (await node)?.stop()
  ;(await workerd)?.child.kill('SIGKILL')
})

const HOSTS: Readonly<Record<string, () => Promise<string>>> = {
  Node: async () => {
    node ??= serve(join(FIXTURES, 'burst.ts'))
    return `${(await node).http.replace('http', 'ws')}/ws`
  },
  workerd: async () => {
    workerd ??= serveWorkerd(join(FIXTURES, 'burstworker.ts'), temporaryFolder())
    return `ws://127.0.0.1:${(await workerd).port}/ws`
  },
}

for (const { name, needs, command } of CLIENTS) {
  const absent = needs.find(({ files }) => !files.some((file) => existsSync(file)))
  for (const [host, start] of Object.entries(HOSTS)) {
    const skip = absent ? `no ${absent.files.join(' or ')}` : false
    test(`${name} receives a burst and the largest ordinary answer from ${host}`, { skip }, async (t) => {
      const args = [...command.slice(1), await start(), ...[EVENTS, EVENT_BYTES, ECHO_BYTES].map(String)]
      // Godot writes its log to the working folder.
      const { stdout } = await promisify(execFile)(command[0], args, { cwd: temporaryFolder(), timeout: CLIENT_MS })
      const report = JSON.parse(stdout.slice(stdout.lastIndexOf('{'))) as ClientReport
      t.diagnostic(`largest message ${report.largestMessage} bytes`)
      const { largestMessage, ...rest } = report
      assert.deepEqual(rest, { events: EVENTS, echoed: ECHO_BYTES, problem: '' })
      assert.ok(largestMessage <= DEFAULT_LIMITS.maxMessageBytes, `${largestMessage} bytes`)
      assert.ok(largestMessage > DEFAULT_LIMITS.maxMessageBytes / 2, `${largestMessage} bytes: frames share messages`)
    })
  }
}
