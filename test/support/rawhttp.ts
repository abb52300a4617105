// Hand-made HTTP requests to the Node host, which a WebSocket library would not send.

import { connect as dial } from 'node:net'

/** Returns the response up to the WebSocket handshake or the end of the stream. The client side stays open. */
export function requestRaw(port: number, lines: readonly string[]): Promise<string> {
  const socket = dial({ port, host: '127.0.0.1', allowHalfOpen: true })
  let response = ''
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  return new Promise((resolve) => {
    socket.on('error', () => resolve(response))
    socket.on('data', (chunk) => {
      response += chunk.toString('latin1')
      if (!response.startsWith('HTTP/1.1 101')) return
      socket.destroy()
      resolve(response)
    })
    socket.on('end', () => resolve(response))
    socket.unref()
  })
}

/** A valid WebSocket upgrade request for `path`, with further headers. */
export function upgradeLines(path: string, ...more: string[]): string[] {
  return [
    `GET ${path} HTTP/1.1`,
    'Host: game.example',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...more,
  ]
}

export function statusCode(response: string): number {
  return Number(response.slice(9, 12))
}
