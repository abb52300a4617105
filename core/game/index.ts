// The public module 'firefly-game': what authors use for contracts and servers. Contains nothing of a host.

export { command, contract, event } from '../wire/contract.ts'
export type { Command, Contract, Event } from '../wire/contract.ts'
export { customCodec, type Codec } from '../wire/codec.ts'
export { CallError, DefinitionError, InputError, Refusal, RowError, type SystemCode } from '../wire/errors.ts'
export { t, type Infer } from '../wire/type.ts'
export type { ContextOf, HandlersOf, SessionContextOf } from './buildertypes.ts'
export { cacheable } from './cacheable.ts'
export type { CastAnswer, Context, Rows, SessionContext } from './context.ts'
export { critical, firefly, type AuthRequest, type Game, type GameOptions } from './game.ts'
export type { Admittance } from './definition.ts'
export { service, shard } from './shard.ts'
export { table } from './table.ts'
