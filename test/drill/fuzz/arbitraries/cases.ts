// The cases of the drill: plans as bytes. Invariant: the plan is a function of seed and number alone, and the bytes are
// a function of plan, number and resume state. Neighbours of one block have the same route, so that they may share a
// connection.

import fc, { Arbitrary } from 'fast-check'

import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../../../core/wire/limits.ts'
import { MESSAGE } from '../../../../core/wire/message.ts'
import { Random } from '../../../support/random.ts'
import { damagedWebFrame, webFrame } from '../webframes.ts'
import { join } from './byteedits.ts'
import { NO_SESSION, type ResumeState } from './messages.ts'
import { framesOf, plans, type Plan } from './plans.ts'

/** `session` and `legacy`: on a connection after its first frame; `fresh` and `resume`: on a new one. */
export interface Route {
  readonly on: 'session' | 'legacy' | 'fresh' | 'resume'
  readonly via: 'tcp' | 'ws'
}
export interface Case extends Route {
  readonly number: number
  readonly kind: string
  /** What is written to the socket, with its WebSocket frames. */
  readonly bytes: Uint8Array
  /** All of it passes the frame headers, and it ends where a frame ends. */
  readonly isComplete: boolean
  /** The command of its first frame, null = it has none. */
  readonly firstCommand: number | null
}

export const BLOCK = 12
export const channelOf = (number: number): number => number + 1
export const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

/** In percent of the blocks. */
const ROUTES: readonly (readonly [number, Route])[] = [
  [36, { on: 'session', via: 'tcp' }],
  [22, { on: 'session', via: 'ws' }],
  [19, { on: 'legacy', via: 'tcp' }],
  [13, { on: 'legacy', via: 'ws' }],
  [3, { on: 'fresh', via: 'tcp' }],
  [3, { on: 'fresh', via: 'ws' }],
  [2, { on: 'resume', via: 'tcp' }],
  [2, { on: 'resume', via: 'ws' }],
]

export function routeOf(seed: number, number: number): Route {
  let left = randomOf(seed, Math.floor(number / BLOCK), 1).below(100)
  for (const [share, route] of ROUTES) if ((left -= share) < 0) return route
  return ROUTES[0]![1]
}

export function makeCase(seed: number, number: number, state?: ResumeState): Case {
  return encodePlan(new DrawnPlan(seed, number).generate().value, routeOf(seed, number), number, state)
}

/** The plan of one case, as an arbitrary that shrinks it. */
export class DrawnPlan extends Arbitrary<Plan> {
  readonly #drawn: fc.Value<Plan>
  readonly #source: Arbitrary<Plan>

  constructor(seed: number, number: number) {
    super()
    const { on, via } = routeOf(seed, number)
    this.#source = plans[on === 'fresh' ? (via === 'ws' ? 'freshWeb' : 'freshTcp') : on]
    this.#drawn = this.#source.generate(new fc.Random(randomOf(seed, number, 2).generator()), undefined)
  }

  generate(): fc.Value<Plan> {
    return this.#drawn
  }

  canShrinkWithoutContext(_value: unknown): _value is Plan {
    return false
  }

  shrink(value: Plan, context: unknown): fc.Stream<fc.Value<Plan>> {
    return this.#source.shrink(value, context)
  }
}

export function encodePlan(plan: Plan, route: Route, number: number, state: ResumeState = NO_SESSION): Case {
  const context = { channel: channelOf(number), resume: state }
  const encoded = plan.messages.map((message) => {
    const { command, body } = message.run(context)
    return encodeFrame(identity, command, body)
  })
  const frames = framesOf(plan, encoded)
  const common = { ...route, number, kind: plan.kind }
  if (plan.webDamage) {
    const bytes = damagedWebFrame(join(frames), plan.webDamage)
    return { ...common, bytes, isComplete: false, firstCommand: null }
  }
  const payloads = route.via === 'tcp' || plan.isGrouped ? [join(frames)] : frames
  const bytes = join(route.via === 'tcp' ? payloads : payloads.map((payload) => webFrame(payload)))
  return { ...common, bytes, ...decodeCheck(payloads) }
}

export const isHello = ({ firstCommand }: Case): boolean => firstCommand === MESSAGE.HELLO

function decodeCheck(payloads: readonly Uint8Array[]): Pick<Case, 'isComplete' | 'firstCommand'> {
  let firstCommand: number | null = null
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, DEFAULT_LIMITS.maxBodyBytes, (command) => {
    firstCommand ??= command
  })
  try {
    const isComplete = payloads.every((payload) => {
      decoder.push(payload)
      return decoder.bufferedBytes === 0
    })
    return { isComplete, firstCommand }
  } catch {
    return { isComplete: false, firstCommand }
  }
}

function randomOf(seed: number, number: number, salt: number): Random {
  return new Random(
    Math.imul(seed ^ (salt * 0x9e37_79b9), 0x85eb_ca6b) ^ Math.imul(number + 1, 0xc2b2_ae35) ^ (number >>> 7),
  )
}
