// Raw HTTP to the Node host: what a WebSocket library would not send.

import { connect as dial } from 'node:net'

/** What the server says first to these lines, up to where it goes on as a WebSocket or closes. Our side stays open. */
export function requestRaw(port: number, lines: readonly string[]): Promise<string> {
  const socket = dial({ port, host: '127.0.0.1', allowHalfOpen: true })
  let answer = ''
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  return new Promise((resolve) => {
    socket.on('error', () => resolve(answer))
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      if (!answer.startsWith('HTTP/1.1 101')) return
      socket.destroy()
      resolve(answer)
    })
    socket.on('end', () => resolve(answer))
    socket.unref()
  })
}

/** A good upgrade to `path`, and more headers. */
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

export function statusCode(answer: string): number {
  return Number(answer.slice(9, 12))
}
