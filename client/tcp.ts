// Raw TCP and TLS for Node: `connect('tcp://host:port', { dial: dialTcp })`. The only file of the SDK that needs Node. TCP has no
// close code: the CLOSE messages of all channels, sent before the end, end the session.

import { connect, isIP, type Socket as NetSocket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import { InputError, shorten } from '../core/wire/errors.ts'
import type { Dial } from './socket.ts'

/** The socket is destroyed if the server does not close it within this time. */
const CLOSE_TIMEOUT_MS = 1_000

/**
 * Connects to `tcp://host:port` or `tls://host:port`; TLS uses Node's trusted certificates (NODE_EXTRA_CA_CERTS adds more).
 * @throws InputError for any other URL
 */
export const dialTcp: Dial = (url, events) => {
  const { host, port, secure } = parseTcpUrl(url)
  let problem = 'closed by the server'
  const socket: NetSocket = secure
    ? connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }) })
    : connect({ host, port })
  socket.setNoDelay(true)
  socket.once(secure ? 'secureConnect' : 'connect', () => events.opened())
  socket.on('data', (chunk: Buffer) => events.message(chunk))
  // If several addresses were tried, the message is empty and only the code is set.
  socket.on('error', (error: NodeJS.ErrnoException) => (problem = error.message || (error.code ?? 'no connection')))
  socket.once('close', () => events.closed(problem))
  return {
    send: (bytes) => {
      if (socket.writable) socket.write(bytes)
    },
    close: (leave = false) => {
      if (leave) {
        socket.end()
        socket.setTimeout(CLOSE_TIMEOUT_MS, () => socket.destroy())
        socket.unref()
      } else socket.destroy()
    },
  }
}

function parseTcpUrl(url: string): { host: string; port: number; secure: boolean } {
  const { protocol, hostname, port, pathname } = URL.canParse(url) ? new URL(url) : NO_URL
  const isPlain = (protocol === 'tcp:' || protocol === 'tls:') && (pathname === '' || pathname === '/')
  if (!isPlain || hostname === '' || port === '')
    throw new InputError(`url ${shorten(url)} is not tcp://host:port or tls://host:port`)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), secure: protocol === 'tls:' }
}

const NO_URL = { protocol: '', hostname: '', port: '', pathname: '' }
