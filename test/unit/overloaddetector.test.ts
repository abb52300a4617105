// When a gateway counts as overloaded: by the time that one turn of the event loop takes for what players sent.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { OverloadDetector } from '../../edge/gateway/overload.ts'

const OVERLOAD_MS = 200

/** Runs turns of an event loop; a turn handles a chunk every 10 ms. */
class LoopFixture {
  nowMs = 0
  readonly #cpuShare: number
  readonly #turnEnds: (() => void)[] = []
  readonly detector = new OverloadDetector(
    { mono: () => this.nowMs, cpu: () => this.nowMs * this.#cpuShare, defer: (run) => void this.#turnEnds.push(run) },
    { overloadMs: OVERLOAD_MS },
  )

  /** `cpuShare`: what other processes leave of the processor. */
  constructor(cpuShare = 1) {
    this.#cpuShare = cpuShare
  }

  /** Returns after how many milliseconds the turn counted as overloaded; null = never. */
  turn(ms: number): number | null {
    const startMs = this.nowMs
    let overloadedAfter: number | null = null
    for (let at = 0; at <= ms; at += 10) {
      this.detector.chunkReceived(this.nowMs)
      if (this.detector.isOverloaded) overloadedAfter ??= this.nowMs - startMs
      this.nowMs += 10
    }
    for (const run of this.#turnEnds.splice(0)) run()
    return overloadedAfter
  }
}

test('a series of long turns is an overload from the second turn on, and short turns end it', () => {
  const loop = new LoopFixture()
  assert.equal(loop.turn(600), null)
  assert.equal(loop.turn(600), OVERLOAD_MS + 10)
  assert.equal(loop.turn(600), OVERLOAD_MS + 10)
  assert.equal(loop.detector.isOverloaded, false)
  assert.equal(loop.turn(50), null)
  assert.equal(loop.turn(600), null)
})

test('turns that are long because the process waits for a processor are no overload', () => {
  const loop = new LoopFixture(0.2)
  assert.equal(loop.turn(600), null)
  assert.equal(loop.turn(900), null)
  assert.equal(loop.turn(2_000), OVERLOAD_MS / 0.2 + 10)
})

test('new sessions are refused for a second after an overload', () => {
  const loop = new LoopFixture()
  assert.equal(loop.detector.refusesSessions, false)
  loop.turn(600)
  loop.turn(600)
  loop.turn(0)
  assert.equal(loop.detector.refusesSessions, true)
  loop.nowMs += 1_000
  loop.turn(0)
  assert.equal(loop.detector.refusesSessions, false)
})

test('a clock that stands still during execution, as on Workers, reports no overload', () => {
  const detector = new OverloadDetector({ mono: () => 5, defer: () => {} }, { overloadMs: OVERLOAD_MS })
  for (let i = 0; i < 10_000; i++) detector.chunkReceived(5)
  assert.equal(detector.isOverloaded, false)
})
