// Runs single cases against a server, and shrinks a case that fails to the smallest plan that still fails. Invariant: a
// server that has ended is replaced before the next attempt.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'

import fc from 'fast-check'

import { printFigure, progress } from '../../support/figure.ts'
import { DrawnPlan, encodePlan, routeOf, type Case } from './arbitraries/cases.ts'
import type { ResumeState } from './arbitraries/messages.ts'
import type { Plan } from './arbitraries/plans.ts'
import { CaseRunner } from './caserunner.ts'
import { Findings } from './findings.ts'
import { FuzzServer } from './fuzzserver.ts'

const MAX_SHOWN_BYTES = 400
const SHRINK_MS = 60_000
/** A case that is run alone is answered after the first activation of its shard. */
const LINGER_MS = 100
const MAX_SHRUNK_FINDINGS = 5

/** The smallest case that still fails, and how it fails. */
export interface ShrunkCase {
  readonly number: number
  readonly what: string
  readonly plan: string
  readonly hex: string
}

/** Runs one case alone and prints its figure; returns true when nothing is wrong. */
export async function runOnly(seed: number, number: number, folder: string): Promise<boolean> {
  await using reproducer = new Reproducer(seed, folder)
  const plan = reproducer.planOf(number)
  const { kind, on, via, bytes } = reproducer.caseOf(plan, number)
  progress(`case ${number} of seed ${seed}: ${kind}, ${on} over ${via}, ${bytes.length} bytes\n${hexOf(bytes)}`)
  const { findings, isCrashed, closes } = await reproducer.run([[number, plan]])
  const code = await reproducer.stop()
  const shrunk = findings.total > 0 ? await reproducer.shrink(number) : null
  const answers = Object.fromEntries(findings.answers)
  const result = { isCrashed, code, answers, closes, findings: findings.list, shrunk }
  printFigure({ drill: 'fuzz', seed, only: number, ...result })
  return code === 0 && findings.total === 0
}

/** Finds and shrinks the case of each finding that fails without the other cases too. */
export async function shrinkFindings(seed: number, findings: Findings, folder: string): Promise<readonly ShrunkCase[]> {
  await using reproducer = new Reproducer(seed, folder)
  const shrunk = new Map<number, ShrunkCase>()
  for (const finding of findings.list.slice(0, MAX_SHRUNK_FINDINGS)) {
    const number = await reproducer.firstFailing(findings.candidates(finding))
    if (number === null || shrunk.has(number)) continue
    const smallest = await reproducer.shrink(number)
    if (smallest) shrunk.set(number, smallest)
  }
  return [...shrunk.values()]
}

interface Attempt {
  readonly findings: Findings
  readonly isCrashed: boolean
  readonly closes: Readonly<Record<string, number>> | undefined
}

class Reproducer implements AsyncDisposable {
  readonly #seed: number
  readonly #dir: string
  #server: FuzzServer | null = null
  #findings = new Findings(0)

  constructor(seed: number, folder: string) {
    this.#seed = seed
    this.#dir = join(folder, 'only')
    mkdirSync(this.#dir, { recursive: true })
  }

  planOf(number: number): Plan {
    return new DrawnPlan(this.#seed, number).generate().value
  }

  caseOf(plan: Plan, number: number, state?: ResumeState): Case {
    return encodePlan(plan, routeOf(this.#seed, number), number, state)
  }

  /** Runs the plans one after the other. */
  async run(plans: readonly (readonly [number: number, plan: Plan])[]): Promise<Attempt> {
    const findings = (this.#findings = new Findings(0))
    if (this.#server?.isRunning === false) this.#server = null
    const server = (this.#server ??= this.#start())
    const ports = await server.ready
    const isOver = (): boolean => !server.isRunning
    const lingerMs = plans.length === 1 ? LINGER_MS : LINGER_MS / 20
    for (const [number, plan] of plans) {
      const makeCase = (_number: number, state?: ResumeState): Case => this.caseOf(plan, number, state)
      const range = { seed: this.#seed, from: number, to: number + 1 }
      await new CaseRunner({ ...range, makeCase, ports, findings, isOver, lingerMs }).run()
    }
    // The log lines of the cases arrive before the next report.
    await server.refreshed()
    if (isOver()) findings.add(`the server ended: ${await server.exitStatus()}`, [])
    return { findings, isCrashed: isOver(), closes: server.health?.closes }
  }

  /** Bisects the cases; returns null when none of them fails without the others. */
  async firstFailing(numbers: readonly number[]): Promise<number | null> {
    const fail = async (part: readonly number[]): Promise<boolean> => {
      const { findings } = await this.run(part.map((number) => [number, this.planOf(number)]))
      return findings.total > 0
    }
    let candidates = numbers
    while (candidates.length > 1) {
      const middle = candidates.length >> 1
      const half = candidates.slice(0, middle)
      candidates = (await fail(half)) ? half : candidates.slice(middle)
    }
    return (await fail(candidates)) ? (candidates[0] ?? null) : null
  }

  /** Returns null when the case does not fail again. */
  async shrink(number: number): Promise<ShrunkCase | null> {
    let shrunk: ShrunkCase | null = null
    const property = fc.asyncProperty(new DrawnPlan(this.#seed, number), async (plan) => {
      const { findings } = await this.run([[number, plan]])
      const [finding] = findings.list
      if (!finding) return true
      const { bytes } = this.caseOf(plan, number)
      shrunk = { number, what: finding.what, plan: inspect(plan, { depth: 12 }), hex: hexOf(bytes) }
      return false
    })
    await fc.check(property, { numRuns: 1, interruptAfterTimeLimit: SHRINK_MS, endOnFailure: false })
    return shrunk
  }

  /** Returns the exit code or the signal of the server. */
  async stop(): Promise<number | string> {
    await this.#server?.stop()
    return (await this.#server?.exitStatus()) ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #start(): FuzzServer {
    const events = {
      error: (what: string) => this.#findings.add(what, []),
      warning: (what: string) => this.#findings.warning(what),
      stall: (ms: number, busyMs: number) => progress(`stalled ${ms} ms, ${busyMs} of them busy`),
    }
    return new FuzzServer({ dir: this.#dir, limits: {} }, events)
  }
}

function hexOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, MAX_SHOWN_BYTES)).toString('hex')
  return bytes.length > MAX_SHOWN_BYTES ? `${hex}…` : hex
}
