// The package export 'firefly-game/node': starts the server from a program of the studio, without the CLI.

export { start, type RunningServer, type ServerOptions } from './server.ts'
export type { Cipher, CipherFactory } from '../../core/wire/cipher.ts'
export type { TicketKey, TicketOptions } from '../gateway/ticket.ts'
export type { MetricsOptions } from './metricsserver.ts'
export type { TlsFiles } from './tls.ts'
export { bufferStandardStreams } from '../../core/node/stdio.ts'
export { openHost, type Host, type HostOptions } from '../../core/node/host.ts'
/** Thrown by `invalidate`. */
export { DatabaseError } from '../../core/sql/client.ts'
