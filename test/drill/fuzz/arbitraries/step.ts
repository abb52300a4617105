// Pieces that all arbitraries of the fuzz drill share. Invariant: a step stores the fields that it was made from, so
// that a shrunk case can be printed.

import fc, { type Arbitrary } from 'fast-check'

import { Random } from '../../../support/random.ts'

export type ValueOf<A> = A extends Arbitrary<infer Value> ? Value : never

/** A part of a case: named fields, and what is done with them. */
export class Step<In, Out> {
  readonly name: string
  readonly fields: unknown
  readonly #run: (input: In) => Out

  constructor(name: string, fields: unknown, run: (input: In) => Out) {
    this.name = name
    this.fields = fields
    this.#run = run
  }

  run(input: In): Out {
    return this.#run(input)
  }
}

export function step<Fields, In, Out>(
  name: string,
  fields: Arbitrary<Fields>,
  run: (fields: Fields, input: In) => Out,
): Arbitrary<Step<In, Out>> {
  return fields.map((values) => new Step(name, values, (input: In) => run(values, input)))
}

/** An arbitrary by the weight of each alternative. */
export function weighted<T>(...entries: readonly (readonly [weight: number, arbitrary: Arbitrary<T>])[]): Arbitrary<T> {
  return fc.oneof(...entries.map(([weight, arbitrary]) => ({ weight, arbitrary })))
}

/** A value in so many percent, else null. Shrinks to null. */
export function maybe<T>(percent: number, arbitrary: Arbitrary<T>): Arbitrary<T | null> {
  const none = { weight: 100 - percent, arbitrary: fc.constant(null) }
  return fc.oneof({ withCrossShrink: true }, none, { weight: percent, arbitrary })
}

/** One to three items. Not `minLength: 1`: with it, fast-check never removes the last item when it shrinks. */
export function oneToThree<T>(item: Arbitrary<T>): Arbitrary<T[]> {
  return fc.array(item, { maxLength: 3, size: 'max' }).filter(({ length }) => length > 0)
}

/** Random bytes. Shrinks to fewer bytes. */
export function bytesOf(min: number, max: number): Arbitrary<Uint8Array> {
  return fc.tuple(fc.integer({ min, max }), fc.nat()).map(([length, seed]) => {
    const random = new Random(seed)
    return Uint8Array.from({ length }, () => random.below(256))
  })
}

/** The item of a list that a number of any size selects. */
export function itemAt<T>(items: readonly T[], at: number): T {
  return items[at % items.length]!
}
