// The peer of a socket: its own address, or the client that a trusted proxy names in a PROXY header at the start of the
// connection. Invariant: a socket is passed on with exactly the bytes behind its header, unread.

import type { Socket } from 'node:net'
import { canonicalAddress, type NetworkFilter } from '../gateway/address.ts'
import { readProxyHeader, type ProxyHeaderResult } from '../gateway/proxyheader.ts'

export interface SocketPeer {
  /** IP address; '' = unknown. */
  readonly address: string
  readonly port: number
  /** An address of `--trust-proxy`, which may name its client in an HTTP header. */
  readonly isTrusted: boolean
}

export function peerOfSocket(socket: Socket, isTrusted: NetworkFilter): SocketPeer {
  const address = canonicalAddress(socket.remoteAddress)
  return { address, port: socket.remotePort ?? 0, isTrusted: isTrusted(address) }
}

/** `bytes`: the first bytes of the connection. */
type OnProxyHeader = (result: Exclude<ProxyHeaderResult, 'incomplete'> | Error) => void

/**
 * Waits for the first bytes of a socket that nothing reads yet, and takes a complete PROXY header from them. The caller
 * sets the deadline.
 */
export function takeProxyHeader(socket: Socket, onResult: OnProxyHeader): void {
  let bytes: Buffer = Buffer.alloc(0)
  const stop = (): void => {
    socket.off('readable', onReadable)
    socket.off('end', destroy)
  }
  const destroy = (): void => void socket.destroy()
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    let result: ProxyHeaderResult
    try {
      result = readProxyHeader(bytes)
    } catch (error) {
      stop()
      return onResult(error as Error)
    }
    if (result === 'incomplete') return
    stop()
    const rest = result === 'none' ? bytes : bytes.subarray(result.length)
    if (rest.length > 0) socket.unshift(rest)
    onResult(result)
  }
  socket.on('readable', onReadable)
  socket.on('end', destroy)
}
