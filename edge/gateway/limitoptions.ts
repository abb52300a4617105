// Limits and times that an operator may change, with the name of the option: `maxUnproven` is `--max-unproven` and
// FIREFLY_MAX_UNPROVEN of a Node server, and the same variable of an edge Worker. What is missing here is a constant, for
// the reason in docs/operating.md.

import { DefinitionError, shorten } from '../../core/wire/errors.ts'
import { DEFAULT_LIMITS, TIMES, type Limits } from '../../core/wire/limits.ts'
import type { GatewayTimes } from './context.ts'

const [MANY, BYTES, DAY_MS] = [1_000_000, 4_294_967_296, 86_400_000]

interface NumberOption<Key> {
  readonly key: Key
  readonly min: number
  readonly max: number
}

function numberOption<Key>(key: Key, max: number, min = 1): NumberOption<Key> {
  return { key, min, max }
}

/** Of a gateway. */
const GATEWAY_LIMITS = {
  maxBody: numberOption('maxBodyBytes', 67_108_864),
  maxMessage: numberOption('maxMessageBytes', 67_108_864, 1_024),
  maxOutboundBytes: numberOption('maxOutboundBytes', BYTES, 65_536),
  maxUnreadBytes: numberOption('maxUnreadBytes', BYTES, 4_096),
  maxTotalUnreadBytes: numberOption('maxTotalUnreadBytes', 2 ** 40, 65_536),
  rate: numberOption('maxCostPerSecond', 1_000_000_000),
  byteRate: numberOption('maxBytesPerSecond', BYTES, 1_024),
  maxStrikes: numberOption('maxStrikes', MANY),
  maxChannels: numberOption('maxChannels', MANY),
  maxWaiting: numberOption('maxWaiting', MANY),
  maxConnections: numberOption('maxConnections', MANY),
  maxPerAddress: numberOption('maxPerAddress', MANY),
  maxUnproven: numberOption('maxUnproven', MANY),
} as const satisfies Record<string, NumberOption<keyof Limits>>

/** Of the engine. */
const ENGINE_LIMITS = {
  maxUnackedEvents: numberOption('maxUnackedEvents', MANY),
  maxUnackedEventBytes: numberOption('maxUnackedEventBytes', BYTES, 1_024),
  maxMailbox: numberOption('maxMailbox', MANY),
  maxBacklog: numberOption('maxBacklog', 100_000_000),
  maxBacklogBytes: numberOption('maxBacklogBytes', 2 ** 40, 65_536),
  maxHeld: numberOption('maxHeld', MANY),
  maxRowCacheBytes: numberOption('maxRowCacheBytes', 2 ** 40, 65_536),
  maxShards: numberOption('maxShards', 100_000_000),
  maxAbsent: numberOption('maxAbsent', 100_000_000),
} as const satisfies Record<string, NumberOption<keyof Limits>>

export const LIMIT_OPTIONS = { ...GATEWAY_LIMITS, ...ENGINE_LIMITS } as const
export const TIME_OPTIONS = {
  idle: numberOption('idleMs', DAY_MS, 100),
  heartbeat: numberOption('heartbeatMs', 3_600_000, 100),
  firstFrame: numberOption('firstFrameMs', DAY_MS, 100),
  frame: numberOption('frameMs', DAY_MS, 100),
  unread: numberOption('unreadMs', DAY_MS, 100),
  stall: numberOption('stallMs', DAY_MS, 100),
  login: numberOption('loginMs', DAY_MS, 100),
  flood: numberOption('floodMs', DAY_MS, 100),
  overload: numberOption('overloadMs', 10_000, 10),
  retryAfter: numberOption('retryAfterMs', 3_600_000),
} as const satisfies Record<string, NumberOption<keyof GatewayTimes>>

type NumberOptionName = keyof typeof LIMIT_OPTIONS | keyof typeof TIME_OPTIONS
/** Values by name; a missing one keeps its default. `maxPerLoopback`: 0 and missing = that of `maxConnections`. */
export type NumberOptions = { readonly [Name in NumberOptionName | 'maxPerLoopback']?: number }

/** @throws DefinitionError for limits that contradict each other */
export function limitsOf(values: NumberOptions): Limits {
  const limits = { ...DEFAULT_LIMITS, ...named(LIMIT_OPTIONS, values) }
  const { maxUnreadBytes, maxOutboundBytes, maxTotalUnreadBytes, maxConnections } = limits
  if (maxUnreadBytes > maxOutboundBytes)
    throw new DefinitionError(
      `maxUnreadBytes ${maxUnreadBytes} is above maxOutboundBytes ${maxOutboundBytes}: events must wait before reading pauses`,
    )
  if (maxOutboundBytes > maxTotalUnreadBytes)
    throw new DefinitionError(
      `maxOutboundBytes ${maxOutboundBytes} is above maxTotalUnreadBytes ${maxTotalUnreadBytes}, the bound of all connections`,
    )
  // With a proxy on this machine every player may have the loopback address.
  return { ...limits, maxPerLoopback: values.maxPerLoopback || maxConnections }
}

/** @throws DefinitionError for times that contradict each other */
export function timesOf(values: NumberOptions): Partial<GatewayTimes> {
  const times = named(TIME_OPTIONS, values)
  const { stallMs = TIMES.stallMs, unreadMs = TIMES.unreadMs } = times
  if (stallMs > unreadMs) throw new DefinitionError(`stall ${stallMs} ms is above unread ${unreadMs} ms`)
  return times
}

/** The given values, by limit. */
function named<Key extends string>(
  options: Readonly<Record<string, NumberOption<Key>>>,
  values: NumberOptions,
): Partial<Record<Key, number>> {
  const result: Partial<Record<Key, number>> = {}
  for (const [name, { key }] of Object.entries(options)) {
    const value = values[name as NumberOptionName]
    if (value !== undefined) result[key] = value
  }
  return result
}

/** `maxUnproven` -> `FIREFLY_MAX_UNPROVEN` */
function variableOf(name: string): string {
  return `FIREFLY_${name.replaceAll(/[A-Z]/g, '_$&').toUpperCase()}`
}

/** Reads the variables of a gateway. @throws DefinitionError with variable, value and range */
export function numberOptionsOf(env: object): NumberOptions {
  const values: { [Name in NumberOptionName]?: number } = {}
  for (const [name, { min, max }] of Object.entries({ ...GATEWAY_LIMITS, ...TIME_OPTIONS })) {
    const text: unknown = Reflect.get(env, variableOf(name))
    if (text === undefined || text === '') continue
    const value = Number(text)
    if (typeof text !== 'string' || !/^\d+$/.test(text) || value < min || value > max)
      throw new DefinitionError(`${variableOf(name)} ${shorten(text)} is not a whole number from ${min} to ${max}`)
    values[name as NumberOptionName] = value
  }
  return values
}
