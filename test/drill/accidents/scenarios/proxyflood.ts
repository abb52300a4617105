// Players and an attacker reach the server through the same proxy, which names each client in a PROXY header. The attacker
// opens more connections than one address may have, and others send headers that are malformed or never end.

import { connect, type Socket } from 'node:net'

import { addressesV4, proxyV1, proxyV2 } from '../../../support/proxyheader.ts'
import { until } from '../../../support/wait.ts'
import type { AccidentDrill, Accident } from '../accident.ts'
import type { NodeTarget } from '../target.ts'

const COUNT = { quick: 100, full: 1_000 } as const
const MAX_PER_ADDRESS = 20
const DEADLINE_MS = 30_000

export const accident: Accident = {
  what: 'an attacker behind the same proxy as the players opens too many connections and sends broken PROXY headers',
  async run(drill) {
    const limits = { maxPerAddress: MAX_PER_ADDRESS }
    const target = await drill.startNode({ options: { trustProxy: '127.0.0.1', limits } })
    const count = COUNT[drill.isQuick ? 'quick' : 'full']
    const sockets: Socket[] = []
    const open = (header: Uint8Array): void => {
      const socket = connect(Number(new URL(target.tcpUrl!).port), '127.0.0.1')
      socket.on('error', () => {}).on('connect', () => socket.write(header))
      sockets.push(socket)
    }
    await drill.play(target, async () => {
      for (let i = 0; i < count; i++) {
        open(proxyV2({ addresses: addressesV4('192.0.2.66', 1_024 + i) }))
        open(proxyV1('192.0.2.777'))
        open(proxyV2().subarray(0, 14))
      }
      await waitForMetric(drill, target, 'firefly_turned_away_total{bound="address"}', count - MAX_PER_ADDRESS)
      await waitForMetric(drill, target, 'firefly_refused_total{reason="proxy_header"}', count)
      await waitForMetric(drill, target, 'firefly_refused_total{reason="proxy_timeout"}', count)
      for (const socket of sockets) socket.destroy()
    })
    return { attackers: 3 * count, admitted: MAX_PER_ADDRESS }
  },
}

async function waitForMetric(drill: AccidentDrill, target: NodeTarget, name: string, expected: number): Promise<void> {
  let value = 0
  const isReached = async (): Promise<boolean> => {
    const text = await (await fetch(`${target.httpUrl}/metrics`)).text()
    value = Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.slice(name.length) ?? 0,
    )
    return value >= expected
  }
  if (!(await until(isReached, DEADLINE_MS))) drill.fault(`${name} is ${value}, not ${expected}`)
  if (value > expected) drill.fault(`${name} is ${value}, above ${expected}: a player may have been refused`)
}
