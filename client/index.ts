// The client SDK for browsers, Node and Workers: one session with channels to shards, typed by the contract. It reconnects,
// receives missed events and resends durable calls; every wait has a deadline.

export { connect } from './connect.ts'
export type { ConnectOptions, Firefly, State } from './api.ts'
export type { Remote, RemoteEvents } from './channel.ts'
export type { Measure, Metric } from './listeners.ts'
export type { ShardName } from './reconnect.ts'
export { SessionError, type Closed } from './closereason.ts'
export { dialWebSocket } from './socket.ts'
export type { ClientClock, Dial, Socket, SocketEvents } from './socket.ts'
export { CallError, InputError, Refusal } from '../core/wire/errors.ts'
