// A contract: the typed list of commands and events of one kind of shard, imported by server and client. It is plain data
// plus parsers. Invariant: no two entries share a number; the compiler checks it, and `contract` again at start.

import { boundsOf, type BodyBounds } from './bounds.ts'
import { CODECS, type Codec } from './codec.ts'
import { DefinitionError, InputError, shorten, SYSTEM_CODES } from './errors.ts'
import {
  COMMAND_OPTIONS,
  CONTRACT_OPTIONS,
  ENTRY,
  EVENT_OPTIONS,
  NUMBER,
  type CodecName,
  type CommandOptions,
  type ContractOptions,
  type EventOptions,
} from './contractoptions.ts'
import { checkOption, checkOptions, FUNCTION, OBJECT } from './options.ts'
import { NON_JSON_KINDS, findKind, type TypeSpec } from './schema.ts'
import { schemaOf, specOf, toParser, type InferShape, type Shape } from './type.ts'

export type { CodecName, CommandOptions, ContractOptions, EventOptions, Offline } from './contractoptions.ts'

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
/** Returns the accepted value, or throws InputError. */
export type Parser<T> = (value: unknown) => T

/** Any entry, with its type parameters erased. */
export type AnyCommand = Command<number, unknown, unknown>
/** Any event, with its type parameters erased. */
export type AnyEvent = Event<number, unknown>
/** The commands and events of a contract, by name. */
export type Entries = Readonly<Record<string, AnyCommand | AnyEvent>>

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
  const where = `command ${shorten(number)}`
  checkOptions(where, options, COMMAND_OPTIONS)
  const { maxItems } = options
  const inputSchema = schemaOf(input, `input of ${where}`)
  const outputSchema = output === null ? null : schemaOf(output, `output of ${where}`)
  return {
    kind: 'command',
    number,
    input: toParser(inputSchema),
    output: outputSchema && toParser(outputSchema, 'output'),
    inputSpec: specOf(inputSchema),
    outputSpec: outputSchema && specOf(outputSchema),
    options,
    inputBounds: bodyBounds(`input of ${where}`, input, maxItems),
    outputBounds: bodyBounds(`output of ${where}`, output ?? {}, maxItems),
  }
}

/** An event with its number on the wire and its data. */
export function event<const N extends number, const D extends Shape = Record<never, never>>(
  number: N,
  data: D = {} as D,
  options: EventOptions = {},
): Event<N, InferShape<D>> {
  const where = `event ${shorten(number)}`
  checkOptions(where, options, EVENT_OPTIONS)
  const schema = schemaOf(data, `data of ${where}`)
  return {
    kind: 'event',
    number,
    data: toParser(schema, 'data') as Parser<InferShape<D>>,
    dataSpec: specOf(schema),
    options,
    bounds: bodyBounds(`data of ${where}`, data, options.maxItems),
  }
}

/**
 * The contract of one kind of shard.
 * @throws DefinitionError for an invalid name or refusal code, a reserved or duplicate number, an unknown option or codec, bytes
 * in json, a durable command with `offline: 'drop'`, a `keyed` contract with a `key`, an event's `latest` that names no plain field
 */
export function contract<
  const E extends Entries,
  const Code extends string = never,
  const Keyed extends boolean = false,
>(name: string, entries: E & NoDuplicates<E>, options: ContractOptions<Code, Keyed> = {}): Contract<E, Code, Keyed> {
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,31}$/.test(name))
    throw new DefinitionError(`contract name ${shorten(name)} must match [a-z][a-z0-9-]{0,31}`)
  checkOptions(name, options, CONTRACT_OPTIONS)
  if (options.legacy) checkOptions(`${name}: legacy`, options.legacy, { refuse: FUNCTION }, ['refuse'])
  checkOption(name, 'the argument entries', entries, OBJECT)
  const codec = codecOf(options.codec)
  const seen = new Map<number, string>()
  for (const [entryName, entry] of Object.entries(entries as Entries)) {
    checkOption(name, entryName, entry, ENTRY)
    const { number } = entry
    if (entry.kind === 'command' && RESERVED_COMMANDS.has(entryName))
      throw new DefinitionError(`${name}.${entryName}: the client has a method of that name; choose another`)
    checkOption(`${name}.${entryName}`, 'number', number, NUMBER)
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
    if ((SYSTEM_CODES as readonly string[]).includes(code))
      throw new DefinitionError(`${name}: refusal ${code} is a code of the framework; choose another`)
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

function codecOf(codec: CodecName | Codec = 'msgpack'): Codec {
  // Options with another name were refused.
  return typeof codec === 'object' ? codec : CODECS.get(codec)!
}

/** Methods of the SDK beside a shard's commands; `then` would make the object a promise. */
const RESERVED_COMMANDS: ReadonlySet<string> = new Set(['on', 'onRestart', 'onResync', 'onClose', 'close', 'then'])
/** Kinds whose values have no unique text to compare by. */
const UNKEYED_KINDS: ReadonlySet<string> = new Set(['array', 'record', 'object', 'bytes'])

function offlineError({ offline, durable }: CommandOptions): string | null {
  return durable && offline === 'drop' ? 'a durable command is never dropped; offline is keep or fail' : null
}

function latestError({ options: { latest }, dataSpec }: AnyEvent): string | null {
  if (latest === undefined || latest === true || dataSpec.kind !== 'object') return null
  const field = Object.hasOwn(dataSpec.fields, latest) ? dataSpec.fields[latest] : undefined
  if (field === undefined)
    return `latest ${shorten(latest)} is no field of its data: ${Object.keys(dataSpec.fields).join(', ') || 'it has none'}`
  const kind = innerKind(field)
  return UNKEYED_KINDS.has(kind) ? `latest ${shorten(latest)} is of type ${kind}, which cannot be compared` : null
}

function bodyBounds(what: string, shape: Shape, maxItems: number | undefined): BodyBounds {
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
