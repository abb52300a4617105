// The client SDK for browsers and Node: one session, channels to shards, typed by the contract. It reconnects by
// itself and sends again what is durable; nothing waits for ever.

export { connect, type ConnectOptions, type Firefly, type State } from './firefly.ts'
export { type Remote } from './channel.ts'
export { CallError, Refusal } from '../core/wire/errors.ts'
