// Another shard seen from a turn: `c.at(Market, 'main').call.price({...})`. A call never hangs: it has a deadline,
// and a circle of waiting shards is refused before it can close.

import type { Remote } from '../game/context.ts'
import { entryCodec, type AnyCommand, type Contract, type Entries } from '../wire/contract.ts'
import { CallError, Refusal, type SystemCode } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type PeerAnswer, type ShardId } from './ports.ts'
import type { Turn } from './turn.ts'

interface Target {
  readonly turn: Turn
  readonly id: ShardId
}
type Way = (
  target: Target,
  contract: Contract,
  command: AnyCommand,
  input: unknown,
  answer?: { readonly answer: string; readonly data?: unknown },
) => unknown

const prototypes = new WeakMap<Contract, { readonly call: object; readonly cast: object }>()

export function remoteOf(turn: Turn, contract: Contract, key: string): Remote<Entries> {
  let both = prototypes.get(contract)
  if (!both) {
    both = { call: prototypeOf(contract, call), cast: prototypeOf(contract, cast) }
    prototypes.set(contract, both)
  }
  const target: Target = { turn, id: { contract: contract.name, key } }
  return {
    call: Object.assign(Object.create(both.call) as object, target),
    cast: Object.assign(Object.create(both.cast) as object, target),
  }
}

function prototypeOf(contract: Contract, way: Way): object {
  const prototype: Record<string, unknown> = {}
  for (const [name, entry] of Object.entries(contract.entries)) {
    if (entry.kind !== 'command') continue
    prototype[name] = function (
      this: Target,
      input: unknown = {},
      answer?: { readonly answer: string },
    ): unknown {
      return way(this, contract, entry, input, answer)
    }
  }
  return prototype
}

function cast(
  { turn, id }: Target,
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
    if (turn.live().plan.definition.stateless)
      throw new Error('a service keeps nothing, so it casts nothing durable')
    return turn.cast(
      { target: id, command: command.number, body, answer: answer?.answer ?? '' },
      answer?.data,
    )
  }
  if (answer) throw new Error(`${contract.name}: only a cast of a durable command is answered`)
  turn.effect((life) => life.peer(id).cast({ command: command.number, body, chain: [], deadlineMs: 0 }))
}

async function call(
  { turn, id }: Target,
  contract: Contract,
  command: AnyCommand,
  input: unknown,
): Promise<unknown> {
  const life = turn.live()
  const codec = entryCodec(contract, command)
  const body = codec.encode(command.input(input))
  const chain = [...turn.cause.chain, shardName(life.shard.id)]
  const target = shardName(id)
  if (chain.includes(target)) {
    throw new CallError('CYCLE', `shards wait in a circle: ${[...chain, target].join(' > ')}`)
  }
  const now = life.clock.now()
  const until = turn.cause.deadlineMs || Number.POSITIVE_INFINITY
  const deadlineMs = Math.min(now + TIMES.callMs, until)
  const answer = await withDeadline(turn, target, deadlineMs - now, (done) => {
    life
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
    const timer = turn.life.clock.after(Math.max(0, ms), () => {
      resolve({ kind: 'system', code: 'DEADLINE', message: `${target} did not answer within ${ms} ms` })
    })
    start((answer) => {
      timer.cancel()
      resolve(answer)
    })
  })
}
