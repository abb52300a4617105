// Types for helpers and handlers that live in other files than their shard. Types only.

import type { CommandNames, Entries, InputOf, OutputOf } from '../wire/contract.ts'
import type { Fields } from '../wire/type.ts'
import type { AnswerTypes, Context, NamedTypes, SessionContext, Tables } from './context.ts'
import type { Awaitable } from './definition.ts'

/** The type parameters of a builder. */
export interface BuilderTypes<E, Code, State, K, T, R, A, Handled> {
  readonly entries: E
  readonly code: Code
  readonly state: State
  readonly kv: K
  readonly timers: T
  readonly tables: R
  readonly answers: A
  readonly handled: Handled
}
interface AnyBuilder {
  readonly types: BuilderTypes<Entries, string, unknown, Fields, NamedTypes, Tables, AnswerTypes, string>
}

/**
 * The context of ticks, timers, answers and handlers of a shard, for helpers in other files. Its own hooks may call the helper.
 * A handler, whose result is part of the builder's type, may not (TS7022): name the builder before its handlers.
 *
 *     export const arena = shard(Arena).state(() => ({ score: 0 }))
 *     export function award(c: ContextOf<typeof arena>, points: number): void { c.state.score += points }
 *     arena.on('hit', (c) => award(c, 10))
 */
export type ContextOf<B extends AnyBuilder> = Context<
  B['types']['entries'],
  B['types']['code'],
  B['types']['state'],
  B['types']['kv'],
  B['types']['timers'],
  B['types']['tables'],
  B['types']['answers']
>

/** {@link ContextOf} of handlers and of the hooks of members: with `c.session`, `c.uid`, `c.seat`, `c.push`, `c.join`. */
export type SessionContextOf<B extends AnyBuilder> = SessionContext<
  B['types']['entries'],
  B['types']['code'],
  B['types']['state'],
  B['types']['kv'],
  B['types']['timers'],
  B['types']['tables'],
  B['types']['answers']
>

/**
 * Handlers in another file: `export const movement = { steer: (c, input) => … } satisfies HandlersOf<typeof arena>`, and then
 * `arena.handlers(movement)`. With `satisfies`, only the handlers that are there count as handled.
 */
export type HandlersOf<B extends AnyBuilder> = Handlers<B['types']['entries'], SessionContextOf<B>>

/**
 * A hook, whose result is not used. Two function types instead of one that returns `void | Promise<void>`: TypeScript then need
 * not look into the hook to know the type of the builder, so the hook may call a helper that takes `ContextOf<typeof builder>`.
 */
export type TurnHook<C, Args extends readonly unknown[] = []> =
  | ((c: C, ...args: Args) => void)
  | ((c: C, ...args: Args) => Promise<void>)

export type Handlers<E extends Entries, C> = {
  readonly [N in CommandNames<E>]?: (c: C, input: InputOf<E[N]>) => Awaitable<OutputOf<E[N]>>
}
/** Keys that cannot be undefined. */
export type PresentKeys<H> = { [N in keyof H]-?: undefined extends H[N] ? never : N }[keyof H] & string
