// Casts to the built-in session shard of a uid or of a session.

import { Session } from '../wire/systemcontract.ts'
import { msgpack } from '../wire/codec.ts'
import type { AnyCommand } from '../wire/contract.ts'
import type { ActivationContext } from './turnhost.ts'

export function castToSession(
  host: Pick<ActivationContext, 'peer'>,
  key: string,
  command: AnyCommand,
  input: unknown,
): void {
  const body = msgpack.encode(command.input(input))
  host.peer({ contract: Session.name, key }).cast({ command: command.number, body, chain: [], deadlineMs: 0 })
}
