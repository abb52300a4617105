// What a studio imports as 'firefly-game/node': the server inside a process of its own, without the CLI.

export { start, type RunningServer, type ServerOptions } from './server.ts'
export type { Cipher, CipherFactory } from '../../core/wire/cipher.ts'
export type { TicketKey, TicketOptions } from '../gateway/ticket.ts'
export type { TlsFiles } from './tls.ts'
export { openHost, type Host, type HostOptions } from '../../core/node/host.ts'
/** What `invalidate` may throw. */
export { DatabaseError } from '../../core/sql/client.ts'
