// The client SDK for browsers, Node and Workers: one session, channels to shards, typed by the contract. It comes back
// by itself, hears again what it missed and sends again what is durable; nothing waits for ever.

export { connect } from './firefly.ts'
export type { ConnectOptions, Firefly, State } from './api.ts'
export type { Remote } from './channel.ts'
export type { Metric } from './metric.ts'
export type { ShardName } from './reconnect.ts'
export { SessionError, type Closed } from './closereason.ts'
export type { ClientClock, Dial, Socket, SocketEvents } from './socket.ts'
export { CallError, InputError, Refusal } from '../core/wire/errors.ts'
