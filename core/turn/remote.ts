// Another shard seen from a turn: `c.at(Market, 'main').call.price({...})`. A call never hangs: it has a deadline,
// and a circle of waiting shards is refused before it can close.

import type { ShardHandle } from '../game/context.ts'
import { entryCodec, type AnyCommand, type Contract, type Entries } from '../wire/contract.ts'
import { CallError, Refusal, type SystemCode } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import type { PeerAnswer } from '../ports/directory.ts'
import type { Turn } from './turn.ts'

interface RemoteTarget {
  readonly turn: Turn
  readonly id: ShardId
}
type SendCommand = (
  target: RemoteTarget,
  contract: Contract,
  command: AnyCommand,
  input: unknown,
  answer?: { readonly answer: string; readonly data?: unknown },
) => unknown

const prototypes = new WeakMap<Contract, { readonly call: object; readonly cast: object }>()

export function remoteOf(turn: Turn, contract: Contract, key: string): ShardHandle<Entries> {
  let senders = prototypes.get(contract)
  if (!senders) {
    senders = { call: prototypeOf(contract, callRemote), cast: prototypeOf(contract, castRemote) }
    prototypes.set(contract, senders)
  }
  const target: RemoteTarget = { turn, id: { contract: contract.name, key } }
  return {
    call: Object.assign(Object.create(senders.call) as object, target),
    cast: Object.assign(Object.create(senders.cast) as object, target),
  }
}

function prototypeOf(contract: Contract, send: SendCommand): object {
  const prototype: Record<string, unknown> = {}
  for (const [name, entry] of Object.entries(contract.entries)) {
    if (entry.kind !== 'command') continue
    prototype[name] = function (
      this: RemoteTarget,
      input: unknown = {},
      answer?: { readonly answer: string },
    ): unknown {
      return send(this, contract, entry, input, answer)
    }
  }
  return prototype
}

function castRemote(
  { turn, id }: RemoteTarget,
  contract: Contract,
  command: AnyCommand,
  input: unknown,
  answer?: { readonly answer: string; readonly data?: unknown },
): void {
  const given = command.input(input)
  const encoded = entryCodec(contract, command).encode(given)
  // `raw` gives the handler's own bytes, which it may use again before they leave.
  const body = encoded === given ? new Uint8Array(encoded) : encoded
  if (command.options.durable) {
    if (turn.requireActive().plan.definition.stateless)
      throw new Error('a service keeps nothing, so it casts nothing durable')
    return turn.addCast(
      { target: id, command: command.number, body, answer: answer?.answer ?? '' },
      answer?.data,
    )
  }
  if (answer) throw new Error(`${contract.name}: only a cast of a durable command is answered`)
  turn.addEffect((activation) =>
    activation.peer(id).cast({ command: command.number, body, chain: [], deadlineMs: 0 }),
  )
}

async function callRemote(
  { turn, id }: RemoteTarget,
  contract: Contract,
  command: AnyCommand,
  input: unknown,
): Promise<unknown> {
  const activation = turn.requireActive()
  const codec = entryCodec(contract, command)
  const body = codec.encode(command.input(input))
  const chain = [...turn.cause.chain, shardName(activation.shard.id)]
  const target = shardName(id)
  if (chain.includes(target)) {
    throw new CallError('CYCLE', `shards wait in a circle: ${[...chain, target].join(' > ')}`)
  }
  const now = activation.clock.now()
  const until = turn.cause.deadlineMs || Number.POSITIVE_INFINITY
  const deadlineMs = Math.min(now + TIMES.callMs, until)
  const answer = await withDeadline(turn, target, deadlineMs - now, (done) => {
    activation
      .peer(id)
      .call({ command: command.number, body, chain, deadlineMs })
      .then(done, (cause: unknown) => {
        done({ kind: 'system', code: 'UNAVAILABLE', message: `${target}: ${String(cause)}` })
      })
  })
  if (answer.kind === 'refusal') throw new Refusal(answer.code, answer.message)
  if (answer.kind === 'system') throw new CallError(answer.code as SystemCode, answer.message)
  if (answer.kind !== 'reply' || answer.body === null || !command.output) return undefined
  return command.output(codec.decode(answer.body))
}

function withDeadline(
  turn: Turn,
  target: string,
  ms: number,
  start: (done: (answer: PeerAnswer) => void) => void,
): Promise<PeerAnswer> {
  return new Promise((resolve) => {
    const timer = turn.activation.clock.after(Math.max(0, ms), () => {
      resolve({ kind: 'system', code: 'DEADLINE', message: `${target} did not answer within ${ms} ms` })
    })
    start((answer) => {
      timer.cancel()
      resolve(answer)
    })
  })
}
