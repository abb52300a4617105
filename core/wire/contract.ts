// A contract: the typed list of commands and events of one kind of shard, imported by server and client. It is plain data
// plus parsers. Invariant: no two entries share a number; the compiler checks it, and `contract` again at start.

import { boundsOf, type BodyBounds } from './bounds.ts'
import { CODECS, type Codec } from './codec.ts'
import { DefinitionError, InputError, shorten } from './errors.ts'
import { FIRST_RESERVED } from './message.ts'
import { NON_JSON_KINDS, findKind, type TypeSpec } from './schema.ts'
import { schemaOf, specOf, toParser, type InferShape, type Shape } from './type.ts'

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

/** A command: client to shard. `Out` is `void` for a cast, which has no reply. */
export interface Command<N extends number, In, Out> {
  /** Distinguishes commands from events. */
  readonly kind: 'command'
  /** The number on the wire. */
  readonly number: N
  /** Checks an input. */
  readonly input: Parser<In>
  /** null for a cast. */
  readonly output: Parser<Out> | null
  /** The type of an input, as plain data. */
  readonly inputSpec: TypeSpec
  /** The type of an output; null for a cast. */
  readonly outputSpec: TypeSpec | null
  /** As passed to `command`. */
  readonly options: CommandOptions
  /** Bounds of the body of an input, which follow from its type. */
  readonly inputBounds: BodyBounds
  /** The same of an output. */
  readonly outputBounds: BodyBounds
}

/** An event: shard to client. */
export interface Event<N extends number, Data> {
  /** Distinguishes events from commands. */
  readonly kind: 'event'
  /** The number on the wire. */
  readonly number: N
  /** Checks the data. */
  readonly data: Parser<Data>
  /** The type of the data, as plain data. */
  readonly dataSpec: TypeSpec
  /** As passed to `event`. */
  readonly options: EventOptions
  /** Bounds of the body, which follow from its type. */
  readonly bounds: BodyBounds
}
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

/** Returns the accepted value, or throws InputError. */
export type Parser<T> = (value: unknown) => T

/** Any entry, with its type parameters erased. */
export type AnyCommand = Command<number, unknown, unknown>
/** Any event, with its type parameters erased. */
export type AnyEvent = Event<number, unknown>
/** The commands and events of a contract, by name. */
export type Entries = Readonly<Record<string, AnyCommand | AnyEvent>>

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

/** The commands and events of one kind of shard: what `contract` returns. */
export interface Contract<E extends Entries = Entries, Code extends string = string, Keyed extends boolean = boolean> {
  /** Unique in a game; part of the address of its shards. */
  readonly name: string
  /** Every caller names the key. */
  readonly keyed: Keyed
  /** The key of clients that send none. */
  readonly key: string
  /** The contract sets its `key`. */
  readonly hasOwnKey: boolean
  /** Its commands and events. */
  readonly entries: E
  /** Codec of every entry without its own. */
  readonly codec: Codec
  /** The refusals that its handlers may declare. */
  readonly refuses: readonly Code[]
  /** The body (before encoding) of a refusal to a legacy client. */
  readonly refuseLegacy: (code: string) => unknown
}

/** The key of a shard, as the last argument: a contract that is `keyed` requires it. */
export type ShardKeyArgs<Keyed extends boolean> = Keyed extends true ? [key: string] : [key?: string | undefined]

/** The key of a shard. @throws InputError for none, when the contract is `keyed` */
export function requireKey({ name, keyed, key }: Contract, named: string | undefined): string {
  if (named === undefined && keyed) throw new InputError(`at(${name}) has no key, and its contract is keyed`)
  return named ?? key
}

/** Entries with a duplicate number become an error message that names the other entry. */
export type NoDuplicates<E> = {
  [K in keyof E]: DuplicateName<E, K> extends never
    ? E[K]
    : `number is also the number of ${DuplicateName<E, K> & string}`
}
type DuplicateName<E, K extends keyof E> = {
  [J in keyof E]: J extends K ? never : NumberOf<E[J]> extends NumberOf<E[K]> ? J : never
}[keyof E]
/** The number of an entry. */
export type NumberOf<X> = X extends { readonly number: infer N } ? N : never

/** The names of the commands of a contract. */
export type CommandNames<E> = { [K in keyof E]: E[K] extends { kind: 'command' } ? K : never }[keyof E] & string
/** The names of the events of a contract. */
export type EventNames<E> = { [K in keyof E]: E[K] extends { kind: 'event' } ? K : never }[keyof E] & string
/** The names of the commands without output. */
export type CastNames<E> = {
  [K in CommandNames<E>]: [OutputOf<E[K]>] extends [void] ? K : never
}[CommandNames<E>]
/** The input of a command. */
export type InputOf<X> = X extends Command<number, infer In, infer _Out> ? In : never
/** The output of a command; `void` for a cast. */
export type OutputOf<X> = X extends Command<number, infer _In, infer Out> ? Out : never
/** The data of an event. */
export type DataOf<X> = X extends Event<number, infer Data> ? Data : never
/** `[]` if the input has no fields, else `[input]`. */
export type Args<In> = unknown extends In
  ? [input?: unknown]
  : Record<never, never> extends In
    ? [input?: In]
    : [input: In]

/**
 * A command with its number on the wire, its input and its output. Fields are `t` types or any Standard Schema;
 * raw bodies use `t.bytes()`. Without output, or with null, it is a cast, which has no reply.
 */
export function command<const N extends number>(number: N): Command<N, Record<never, never>, void>
/** A cast with an input: see the first form. */
export function command<const N extends number, const I extends Shape>(
  number: N,
  input: I,
  output?: null,
  options?: CommandOptions,
): Command<N, InferShape<I>, void>
/** A command with an input and an output, which its callers wait for. */
export function command<const N extends number, const I extends Shape, const O extends Shape>(
  number: N,
  input: I,
  output: O,
  options?: CommandOptions,
): Command<N, InferShape<I>, InferShape<O>>
export function command(
  number: number,
  input: Shape = {},
  output: Shape | null = null,
  options: CommandOptions = {},
): Command<number, unknown, unknown> {
  const { maxItems } = options
  return {
    kind: 'command',
    number,
    input: toParser(schemaOf(input)),
    output: output && toParser(schemaOf(output), 'output'),
    inputSpec: specOf(schemaOf(input)),
    outputSpec: output && specOf(schemaOf(output)),
    options,
    inputBounds: bodyBounds(`input of command ${number}`, input, maxItems),
    outputBounds: bodyBounds(`output of command ${number}`, output ?? {}, maxItems),
  }
}

/** An event with its number on the wire and its data. */
export function event<const N extends number, const D extends Shape = Record<never, never>>(
  number: N,
  data: D = {} as D,
  options: EventOptions = {},
): Event<N, InferShape<D>> {
  return {
    kind: 'event',
    number,
    data: toParser(schemaOf(data), 'data') as Parser<InferShape<D>>,
    dataSpec: specOf(schemaOf(data)),
    options,
    bounds: bodyBounds(`data of event ${number}`, data, options.maxItems),
  }
}

/**
 * The contract of one kind of shard.
 * @throws DefinitionError for an invalid name or refusal code, a reserved or duplicate number, an unknown codec, bytes in
 * json, a durable command with `offline: 'drop'`, a `keyed` contract with a `key`, an event's `latest` that names no plain field
 */
export function contract<
  const E extends Entries,
  const Code extends string = never,
  const Keyed extends boolean = false,
>(name: string, entries: E & NoDuplicates<E>, options: ContractOptions<Code, Keyed> = {}): Contract<E, Code, Keyed> {
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(name))
    throw new DefinitionError(`contract name ${JSON.stringify(name)} must match [a-z][a-z0-9-]{0,31}`)
  const codec = codecOf(options.codec ?? 'msgpack')
  const seen = new Map<number, string>()
  for (const [entryName, entry] of Object.entries(entries as Entries)) {
    const { number } = entry
    if (entry.kind === 'command' && RESERVED_COMMANDS.has(entryName))
      throw new DefinitionError(`${name}.${entryName}: the client has a method of that name; choose another`)
    if (!Number.isInteger(number) || number < 0 || number >= FIRST_RESERVED)
      throw new DefinitionError(`${name}.${entryName}: number ${number} is not in 0..${FIRST_RESERVED - 1}`)
    const duplicate = seen.get(number)
    if (duplicate !== undefined)
      throw new DefinitionError(`${name}.${entryName}: number ${number} is also the number of ${duplicate}`)
    seen.set(number, entryName)
    const ownCodec = entryCodec({ codec }, entry)
    const nonJsonKind = findNonJsonKind(entry)
    if (nonJsonKind !== null && ownCodec.name === 'json')
      throw new DefinitionError(`${name}.${entryName}: json cannot represent t.${nonJsonKind}; use msgpack or raw`)
    const optionError = entry.kind === 'command' ? offlineError(entry.options) : latestError(entry)
    if (optionError !== null) throw new DefinitionError(`${name}.${entryName}: ${optionError}`)
  }
  const { refuses = [] } = options
  for (const [i, code] of refuses.entries()) {
    if (refuses.indexOf(code) < i) throw new DefinitionError(`${name}: refusal ${code} is listed twice`)
    if (!/^[\w-]{1,64}$/.test(code))
      throw new DefinitionError(`${name}: refusal ${shorten(code)} is not 1..64 of A-Z a-z 0-9 _ -`)
  }
  const { keyed = false } = options
  if (keyed && options.key !== undefined)
    throw new DefinitionError(`${name}: keyed, and with the default key ${shorten(options.key)}`)
  const refuse = options.legacy?.refuse ?? ((code: Code) => ({ error: code }))
  return {
    name,
    keyed: keyed as Keyed,
    key: options.key ?? 'main',
    hasOwnKey: options.key !== undefined,
    entries,
    codec,
    refuses,
    refuseLegacy: refuse as (code: string) => unknown,
  }
}

/** Returns the codec of an entry: its own, else its contract's. */
export function entryCodec(owner: Pick<Contract, 'codec'>, entry: AnyCommand | AnyEvent): Codec {
  return entry.options.codec === undefined ? owner.codec : codecOf(entry.options.codec)
}

function codecOf(codec: CodecName | Codec | undefined): Codec {
  if (typeof codec === 'object') return codec
  const found = CODECS.get(codec ?? 'msgpack')
  if (!found) throw new DefinitionError(`codec ${JSON.stringify(codec)} is not one of ${[...CODECS.keys()].join(', ')}`)
  return found
}

/** Methods of the SDK beside a shard's commands; `then` would make the object a promise. */
const RESERVED_COMMANDS: ReadonlySet<string> = new Set(['on', 'onRestart', 'onResync', 'onClose', 'close', 'then'])
const OFFLINE_MODES: ReadonlySet<string> = new Set<Offline>(['drop', 'keep', 'fail'])
/** Kinds whose values have no unique text to compare by. */
const UNKEYED_KINDS: ReadonlySet<string> = new Set(['array', 'record', 'object', 'bytes'])

function offlineError({ offline, durable }: CommandOptions): string | null {
  if (offline === undefined) return null
  if (!OFFLINE_MODES.has(offline)) return `offline ${shorten(offline)} is not one of ${[...OFFLINE_MODES].join(', ')}`
  return durable && offline === 'drop' ? 'a durable command is never dropped; offline is keep or fail' : null
}

function latestError({ options: { latest }, dataSpec }: AnyEvent): string | null {
  if (latest === undefined || latest === true || dataSpec.kind !== 'object') return null
  const field = Object.hasOwn(dataSpec.fields, latest) ? dataSpec.fields[latest] : undefined
  if (field === undefined) return `latest ${shorten(latest)} is not one of ${Object.keys(dataSpec.fields).join(', ')}`
  const kind = innerKind(field)
  return UNKEYED_KINDS.has(kind) ? `latest ${shorten(latest)} is of type ${kind}, which cannot be compared` : null
}

function bodyBounds(what: string, shape: Shape, maxItems: number | undefined): BodyBounds {
  if (maxItems !== undefined && !(Number.isSafeInteger(maxItems) && maxItems > 0))
    throw new DefinitionError(`${what}: maxItems ${shorten(maxItems)} is not a positive integer`)
  return boundsOf(what, specOf(schemaOf(shape)), maxItems)
}

function innerKind(spec: TypeSpec): string {
  return spec.kind === 'optional' || spec.kind === 'nullable' ? innerKind(spec.item) : spec.kind
}

/** Returns the first kind in the entry's bodies that JSON cannot represent, or null. */
function findNonJsonKind(entry: AnyCommand | AnyEvent): string | null {
  const specs = entry.kind === 'event' ? [entry.dataSpec] : [entry.inputSpec, entry.outputSpec]
  for (const spec of specs) {
    const found = spec && findKind(spec, NON_JSON_KINDS)
    if (found) return found
  }
  return null
}
