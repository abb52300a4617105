// The public module 'firefly-game': what authors use for contracts and servers. Contains nothing of a host.

export { command, contract, event } from '../wire/contract.ts'
export type {
  CodecName,
  Command,
  CommandOptions,
  Contract,
  ContractOptions,
  Entries,
  Event,
  EventOptions,
  Offline,
} from '../wire/contract.ts'
export { customCodec, type Codec } from '../wire/codec.ts'
export {
  CallError,
  DefinitionError,
  InputError,
  Refusal,
  RowError,
  type RowErrorCode,
  type SystemCode,
} from '../wire/errors.ts'
export type { Schema, StandardSchema, Type } from '../wire/schema.ts'
export { t, type Fields, type Infer } from '../wire/type.ts'
export type { ContextOf, HandlersOf, SessionContextOf } from './buildertypes.ts'
export { cacheable, type CacheOptions, type Cached } from './cacheable.ts'
export type {
  CastAnswer,
  Context,
  ContextLog,
  Emit,
  Kv,
  ListOptions,
  RowMethods,
  Rows,
  SessionContext,
  ShardHandle,
  TableMethods,
  User,
} from './context.ts'
export {
  critical,
  firefly,
  type AuthHook,
  type AuthRequest,
  type Game,
  type GameOptions,
  type LoginMode,
} from './game.ts'
export type { Admit, Admittance, ShardOptions, SnapshotOptions } from './definition.ts'
export { service, shard, type ShardBuilder } from './shard.ts'
export { table, type Durability, type Ids, type Table, type TableOptions } from './table.ts'
