// Calls and casts to another shard: `c.at(Market, 'main').call.price({...})`. Invariant: every call ends, because it
// has a deadline, and a call that would close a cycle of waiting shards fails with CYCLE.

import type { ShardHandle } from '../game/context.ts'
import { msgpack } from '../wire/codec.ts'
import { entryCodec, type AnyCommand, type Contract, type Entries } from '../wire/contract.ts'
import type { Codec } from '../wire/codec.ts'
import { CallError, contractViolation, Refusal, type SystemCode } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import { Session } from '../wire/systemcontract.ts'
import type { Clock } from '../ports/clock.ts'
import { systemError, type PeerAnswer } from '../ports/directory.ts'
import type { ActivationContext, TurnScope } from './turnhost.ts'

interface RemoteTarget {
  readonly turn: TurnScope
  readonly id: ShardId
}
type AnswerOption = { readonly answer: string; readonly data?: unknown }
type SendCommand = (target: RemoteTarget, sent: RemoteCommand, input: unknown, answer?: AnswerOption) => unknown

interface RemoteCommand {
  /** With the name of its contract. */
  readonly name: string
  readonly command: AnyCommand
  readonly codec: Codec
}

const prototypes = new WeakMap<Contract, { readonly call: object; readonly cast: object }>()

export function remoteOf<E extends Entries, Code extends string>(
  turn: TurnScope,
  contract: Contract<E, Code>,
  key: string,
): ShardHandle<E> {
  let senders = prototypes.get(contract)
  if (!senders) {
    senders = { call: prototypeOf(contract, callRemote), cast: prototypeOf(contract, castRemote) }
    prototypes.set(contract, senders)
  }
  const target: RemoteTarget = { turn, id: { contract: contract.name, key } }
  return {
    call: Object.assign(Object.create(senders.call) as ShardHandle<E>['call'], target),
    cast: Object.assign(Object.create(senders.cast) as ShardHandle<E>['cast'], target),
  }
}

function prototypeOf(contract: Contract, send: SendCommand): object {
  const prototype: Record<string, unknown> = {}
  for (const [name, entry] of Object.entries(contract.entries)) {
    if (entry.kind !== 'command') continue
    const sent: RemoteCommand = { name: `${contract.name}.${name}`, command: entry, codec: entryCodec(contract, entry) }
    prototype[name] = function (this: RemoteTarget, input: unknown = {}, answer?: AnswerOption): unknown {
      return send(this, sent, input, answer)
    }
  }
  return prototype
}

/** @throws InputError that names the command */
function encodeInput({ name, command, codec }: RemoteCommand, input: unknown): Uint8Array {
  try {
    const body = codec.encode(command.input(input), command.inputBounds)
    // `raw` returns the handler's own array, which the handler may change before the body is sent.
    return body === input ? new Uint8Array(body) : body
  } catch (cause) {
    throw contractViolation(name, 'input', cause)
  }
}

function castRemote({ turn, id }: RemoteTarget, sent: RemoteCommand, input: unknown, answer?: AnswerOption): void {
  const { name, command } = sent
  const body = encodeInput(sent, input)
  if (command.options.durable) {
    if (turn.requireActive().plan.definition.stateless)
      throw new Error('a service has no storage, so it cannot send a durable cast')
    return turn.addCast({ target: id, command: command.number, body, answer: answer?.answer ?? '' }, answer?.data)
  }
  if (answer) throw new Error(`${name}: only a cast of a durable command has an answer`)
  turn.addEffect((host) => host.peer(id).cast({ command: command.number, body, chain: [], timeoutMs: 0 }))
}

async function callRemote({ turn, id }: RemoteTarget, sent: RemoteCommand, input: unknown): Promise<unknown> {
  const host = turn.requireActive()
  const { name, command, codec } = sent
  const body = encodeInput(sent, input)
  const chain = [...turn.cause.chain, host.name]
  const target = shardName(id)
  if (chain.includes(target))
    throw new CallError('CYCLE', `shards wait for each other: ${[...chain, target].join(' > ')}`)
  const callerDeadlineMs = turn.cause.deadlineMs || Number.POSITIVE_INFINITY
  const timeoutMs = Math.min(TIMES.callMs, callerDeadlineMs - host.clock.mono())
  if (timeoutMs <= 0)
    throw new CallError('DEADLINE', `${target} was not called: the caller of this turn no longer waits`)
  const answered = host.peer(id).call({ command: command.number, body, chain, timeoutMs })
  const answer = await withDeadline(host.clock, target, timeoutMs, answered)
  if (answer.kind === 'refusal') throw new Refusal(answer.code, answer.message)
  if (answer.kind === 'system') throw new CallError(answer.code as SystemCode, answer.message)
  if (answer.kind !== 'reply' || answer.body === null || !command.output) return undefined
  try {
    return command.output(codec.decode(answer.body, command.outputBounds))
  } catch (cause) {
    throw contractViolation(name, 'reply', cause)
  }
}

function withDeadline(clock: Clock, target: string, ms: number, answered: Promise<PeerAnswer>): Promise<PeerAnswer> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, () => {
      resolve(systemError('DEADLINE', `${target} did not answer within ${Math.round(ms)} ms`))
    })
    const onAnswer = (answer: PeerAnswer): void => {
      timer.cancel()
      resolve(answer)
    }
    answered.then(onAnswer, (cause: unknown) => onAnswer(systemError('UNAVAILABLE', `${target}: ${String(cause)}`)))
  })
}

/** Returns the effect that sends a cast to the built-in session shard of a uid or of a session. @throws InputError */
export function sessionCast(
  key: string,
  command: AnyCommand,
  input: unknown,
): (host: Pick<ActivationContext, 'peer'>) => void {
  const body = msgpack.encode(command.input(input))
  return (host) =>
    host.peer({ contract: Session.name, key }).cast({ command: command.number, body, chain: [], timeoutMs: 0 })
}
