// The ShardLink of an edge Worker: one internal WebSocket per channel, flushed once per event. Invariant: a link serves one
// client connection, because on Workers a socket belongs to the request that opened it.

import type { ChannelIn, ChannelOut, OpenRequest, ShardLink } from '../../core/ports/link.ts'
import { ShardSocket, type FlushScheduler, type ShardSocketContext } from './shardsocket.ts'

export class DurableObjectLink implements ShardLink, FlushScheduler {
  readonly #context: ShardSocketContext
  #unflushedSockets: ShardSocket[] = []

  constructor(context: ShardSocketContext) {
    this.#context = context
  }

  open(request: OpenRequest, out: ChannelOut): ChannelIn {
    return new ShardSocket(this.#context, this, request, out)
  }

  scheduleFlush(socket: ShardSocket): void {
    this.#unflushedSockets.push(socket)
    if (this.#unflushedSockets.length > 1) return
    this.#context.clock.defer(() => {
      const sockets = this.#unflushedSockets
      this.#unflushedSockets = []
      for (const unflushed of sockets) unflushed.flush()
    })
  }
}
