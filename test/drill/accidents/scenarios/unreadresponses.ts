// Scrapers and browsers ask for metrics and the page again and again, and read nothing.

import { connect as dial } from 'node:net'

import { until } from '../../../support/wait.ts'
import type { Accident } from '../accident.ts'

const CLIENTS = { quick: 100, full: 400 } as const
const REQUESTS = 50
const CLOSED_MS = 30_000
const UNREAD_MS = 2_000

export const accident: Accident = {
  what: 'HTTP clients request /metrics in pipelines and read no response',
  async run(drill) {
    const target = await drill.startNode({ options: { times: { unreadMs: UNREAD_MS } } })
    const { hostname, port } = new URL(target.httpUrl)
    const lobby = async (): Promise<number> => {
      const text = await (await fetch(`${target.httpUrl}/metrics`)).text()
      return Number(/^firefly_lobby (\d+)$/m.exec(text)?.[1])
    }
    const clients = CLIENTS[drill.isQuick ? 'quick' : 'full']
    await drill.play(target, async () => {
      const sockets = Array.from({ length: clients }, () => dial(Number(port), hostname).on('error', () => {}))
      for (const socket of sockets) {
        socket.pause()
        socket.write('GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(REQUESTS))
      }
      if (!(await until(async () => (await lobby()) < clients / 10, CLOSED_MS))) drill.fault('they were not closed')
      for (const socket of sockets) socket.destroy()
    })
    return { clients }
  },
}
