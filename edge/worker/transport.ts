// The transports of an edge Worker: a WebSocket, and the stream of an inbound TCP socket. A gateway serves one connection,
// so it shuts down when its socket closes.

import { maxReceivedBytes, type Transport } from '../gateway/context.ts'
import type { Gateway } from '../gateway/gateway.ts'

/** `address`: the client's IP address, '' = unknown. */
export function serveWebSocket(gateway: Gateway, socket: WebSocket, address: string): void {
  socket.binaryType = 'arraybuffer'
  socket.accept()
  const transport: Transport = {
    kind: 'ws',
    remote: address,
    address,
    get bufferedBytes() {
      return socket.bufferedAmount
    },
    write(bytes) {
      try {
        socket.send(bytes)
      } catch {
        // The socket is closing; its close event follows.
      }
    },
    close(code, reason) {
      try {
        socket.close(code, reason)
      } catch {
        // Already closed.
      }
      gateway.shutdown()
    },
    abort(code, reason) {
      transport.close(code, reason)
    },
  }
  const connection = gateway.accept(transport)
  if (!connection) return
  const onClosed = (isClean: boolean): void => {
    connection.onTransportClosed(isClean)
    gateway.shutdown()
  }
  const maxBytes = maxReceivedBytes(gateway.limits)
  socket.addEventListener('message', ({ data }) => {
    if (!(data instanceof ArrayBuffer)) connection.closeConnection('TEXT_MESSAGE', 'frames must be binary messages')
    else if (data.byteLength <= maxBytes) connection.receive(new Uint8Array(data))
    else connection.closeConnection('FRAME_TOO_LARGE', `message ${data.byteLength} bytes exceeds ${maxBytes}`)
  })
  socket.addEventListener('close', ({ code }) => onClosed(code === 1000 || code === 1001))
  socket.addEventListener('error', () => onClosed(false))
}

/** Resolves when the connection has closed. */
export async function serveTcpStream(gateway: Gateway, socket: Socket): Promise<void> {
  const writer = (socket.writable as WritableStream<Uint8Array>).getWriter()
  let bufferedBytes = 0
  const closeSocket = (): void => void socket.close().catch(() => {})
  const transport: Transport = {
    kind: 'tcp',
    remote: '',
    address: '',
    get bufferedBytes() {
      return bufferedBytes
    },
    write(bytes) {
      bufferedBytes += bytes.length
      const onWritten = (): number => (bufferedBytes -= bytes.length)
      writer.write(bytes).then(onWritten, onWritten)
    },
    close() {
      writer.close().then(closeSocket, closeSocket)
    },
    abort(_code, reason) {
      writer.abort(reason).then(closeSocket, closeSocket)
    },
  }
  const connection = gateway.accept(transport)
  if (!connection) return
  try {
    for await (const chunk of socket.readable as ReadableStream<Uint8Array>) connection.receive(chunk)
  } catch {
    // The peer has closed.
  } finally {
    connection.onTransportClosed(false)
    gateway.shutdown()
  }
}
