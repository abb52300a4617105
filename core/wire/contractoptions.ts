// The options of contracts, commands and events, and what each may be. Invariant: an option that has no kind here does not compile.

import { CODECS, type Codec } from './codec.ts'
import { FIRST_RESERVED } from './message.ts'
import {
  FLAG,
  FUNCTION,
  integerIn,
  NAME,
  NAMES,
  numberIn,
  OBJECT,
  oneOf,
  POSITIVE_INTEGER,
  type OptionKind,
  type OptionKinds,
} from './options.ts'

/** Options of `command`. */
export interface CommandOptions {
  /** Overrides the contract's codec. */
  readonly codec?: CodecName | Codec
  /** The SDK stores the call until its effect is acknowledged and resends it after a restart. */
  readonly durable?: boolean
  /** Resent after a restart although its effect is volatile: for calls that are safe to run twice. */
  readonly resend?: boolean
  /** Only other shards may send it. */
  readonly internal?: boolean
  /** Largest body in bytes; the server's own limit applies too. */
  readonly maxBytes?: number
  /** Array elements and map entries of each part that is `t.unknown` or of another library's schema. Default 4,096. */
  readonly maxItems?: number
  /** Cost of one call in a session's rate limit. Default 1. */
  readonly cost?: number
  /**
   * What the SDK does with a call without connection: 'drop' (a cast is discarded, a call fails with UNAVAILABLE), 'keep'
   * (sent after the resume, until its deadline), or 'fail' (fails immediately with UNAVAILABLE, a cast too). Default: 'drop'
   * for a volatile cast, else 'keep'.
   */
  readonly offline?: Offline
}
/** What the SDK does with a call without connection: see `CommandOptions.offline`. */
export type Offline = 'drop' | 'keep' | 'fail'
/** The built-in codecs. */
export type CodecName = 'raw' | 'json' | 'msgpack'

/** Options of `event`. */
export interface EventOptions {
  /** Overrides the contract's codec. */
  readonly codec?: CodecName | Codec
  /** Array elements and map entries of each part that is `t.unknown` or of another library's schema. Default 4,096. */
  readonly maxItems?: number
  /**
   * A newer event replaces an older one that was not sent yet: `true` = any of this kind, a field's name = one with the same
   * value of that field.
   */
  readonly latest?: string | true
}

/** Options of `contract`. */
export interface ContractOptions<Code extends string, Keyed extends boolean = boolean> {
  /**
   * The key of clients that send none (all legacy clients), default 'main'; where it is set, `c.at(Contract)` needs no key
   * either: for a kind of shard with one instance.
   */
  readonly key?: string
  /**
   * Every caller names the key: `at(Contract)` without one does not compile, and throws InputError. Not with `key`, and not
   * for a service. Legacy clients, whose frames have no key, get that of `c.bind`, else 'main'.
   */
  readonly keyed?: Keyed
  /** Codec of every entry without its own. Default 'msgpack'. */
  readonly codec?: CodecName | Codec
  /** The refusals that handlers may declare with `c.fail(code)`. */
  readonly refuses?: readonly Code[]
  /** How legacy clients are answered, whose frames have no field for an error. */
  readonly legacy?: { readonly refuse: (code: Code) => unknown }
}

/** The argument of `shard`, `service` and `table`. */
export const CONTRACT: OptionKind = {
  what: 'what contract() returns',
  // Not by class: a bundle may contain a second copy of this module.
  accepts: (value) => OBJECT.accepts(value) && OBJECT.accepts((value as { entries?: unknown }).entries),
}
export const ENTRY: OptionKind = {
  what: 'what command() or event() returns',
  accepts: (value) => OBJECT.accepts(value) && ['command', 'event'].includes((value as { kind: string }).kind),
}
export const NUMBER = /* @__PURE__ */ integerIn(0, FIRST_RESERVED - 1)
const CODEC: OptionKind = {
  what: 'one of raw, json, msgpack, nor what customCodec() returns',
  accepts: (value) => {
    if (typeof value === 'string') return CODECS.has(value)
    if (!OBJECT.accepts(value)) return false
    const { encode, decode } = value as { encode?: unknown; decode?: unknown }
    return FUNCTION.accepts(encode) && FUNCTION.accepts(decode)
  },
}
export const COMMAND_OPTIONS: OptionKinds<CommandOptions> = {
  codec: CODEC,
  durable: FLAG,
  resend: FLAG,
  internal: FLAG,
  maxBytes: POSITIVE_INTEGER,
  maxItems: POSITIVE_INTEGER,
  cost: /* @__PURE__ */ numberIn(0, Number.MAX_VALUE),
  offline: /* @__PURE__ */ oneOf('drop', 'keep', 'fail'),
}
export const EVENT_OPTIONS: OptionKinds<EventOptions> = {
  codec: CODEC,
  maxItems: POSITIVE_INTEGER,
  latest: { what: 'true or the name of a field', accepts: (value) => value === true || NAME.accepts(value) },
}
export const CONTRACT_OPTIONS: OptionKinds<ContractOptions<string>> = {
  key: NAME,
  keyed: FLAG,
  codec: CODEC,
  refuses: NAMES,
  legacy: OBJECT,
}
