// The options of `firefly serve` that are numbers of core/wire/limits.ts, with their help texts.

import { InvalidArgumentError } from 'commander'
import type { LIMIT_OPTIONS, TIME_OPTIONS } from '../edge/gateway/limitoptions.ts'

export const LIMIT_HELP: Readonly<Record<keyof typeof LIMIT_OPTIONS, string>> = {
  maxBody: 'largest frame body',
  maxMessage: 'largest WebSocket message of several frames; a larger frame is sent alone',
  maxOutboundBytes:
    'unread outbound bytes of a connection, after which it is not read and, if it reads nothing, closed',
  maxUnreadBytes: 'unread outbound bytes of a connection, after which events wait at their shards',
  maxTotalUnreadBytes: 'unread outbound bytes of all connections, above which the largest are closed',
  rate: 'total cost of the messages that a session may send per second',
  byteRate: 'bytes that a session may send per second',
  maxStrikes: 'rejected messages before a legacy client is closed',
  maxChannels: 'open shards of one session',
  maxWaiting: 'pending calls of a connection, and of a channel',
  maxConnections: 'connections in total',
  maxPerAddress: 'connections of one IPv4 address, or of one /64 of IPv6',
  maxUnproven: 'connections that have not sent a complete frame, or not logged in where the game requires it',
  maxUnackedEvents: 'events stored for a client that does not acknowledge them',
  maxUnackedEventBytes: 'bytes of those events',
  maxMailbox: 'calls that wait for one shard',
  maxBacklog: 'calls that wait in the process',
  maxBacklogBytes: 'bytes of those calls',
  maxHeld: 'turns of one shard that wait for MySQL',
  maxRowCacheBytes: 'bytes of rows in memory',
  maxShards: 'shards in memory',
  maxAbsent: 'channels in memory whose clients are disconnected',
}
export const TIME_HELP: Readonly<Record<keyof typeof TIME_OPTIONS, string>> = {
  idle: 'idle time after which the connection of a legacy client, which never pings, is closed',
  heartbeat: 'interval of pings on both sides; a connection that is silent for 2.5 intervals is closed',
  firstFrame: 'deadline of the first complete frame, of a TLS handshake and of a PROXY header',
  frame: 'deadline for completing a frame',
  unread: 'time after which a slow reader that reads nothing is closed',
  stall: 'the same above --max-outbound-bytes',
  login: 'deadline of the login where the game requires one',
  flood: 'time above the rate limit after which a connection is closed',
  overload: 'processor time for bytes of players in one turn of the event loop, after which calls are refused',
  retryAfter: 'how long a client waits at least after such a refusal, up to twice as long by chance',
}

export function integerIn(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`Not a whole number from ${min} to ${max}.`)
    return value
  }
}

/** Definitions of `options` with the defaults of their limits, by name. */
export function numberOptions<Name extends string, Key extends PropertyKey>(
  options: Readonly<Record<Name, { readonly key: Key; readonly min: number; readonly max: number }>>,
  defaults: Readonly<Record<Key, number>>,
  help: Readonly<Record<Name, string>>,
): Readonly<Record<Name, readonly [flags: string, help: string, value: number, parse: (text: string) => number]>> {
  const entries = Object.keys(options).map((text) => {
    const name = text as Name
    const { key, min, max } = options[name]
    const flag = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    const unit = String(key).endsWith('Ms') ? 'ms' : String(key).includes('Bytes') ? 'bytes' : 'n'
    return [name, [`--${flag} <${unit}>`, help[name], defaults[key], integerIn(min, max)]]
  })
  return Object.fromEntries(entries) as ReturnType<typeof numberOptions<Name, Key>>
}
