// Registers every case for one host. A case that the host cannot run is no skip: the set of those is asserted, and
// one line says how many ran, how many did not and why.

import assert from 'node:assert/strict'
import test from 'node:test'
import { cases as bind } from './cases/bind.ts'
import { cases as broadcast } from './cases/broadcast.ts'
import { cases as calls } from './cases/calls.ts'
import { cases as casts } from './cases/casts.ts'
import { cases as durability } from './cases/durability.ts'
import { cases as faults } from './cases/faults.ts'
import { cases as framing } from './cases/framing.ts'
import { cases as identity } from './cases/identity.ts'
import { cases as keys } from './cases/keys.ts'
import { cases as limits } from './cases/limits.ts'
import { cases as order } from './cases/order.ts'
import { cases as payments } from './cases/payments.ts'
import type { Case } from './cases/case.ts'
import { cases as refused } from './cases/refused.ts'
import { cases as replies } from './cases/replies.ts'
import { cases as resend } from './cases/resend.ts'
import { cases as resume } from './cases/resume.ts'
import { cases as rows } from './cases/rows.ts'
import { cases as sessions } from './cases/sessions.ts'
import { cases as strikes } from './cases/strikes.ts'
import { cases as time } from './cases/time.ts'
import { cases as values } from './cases/values.ts'
import type { Host, HostFeature } from './host.ts'

export const CASES: readonly (readonly [string, readonly Case[]])[] = [
  ['framing', framing],
  ['order', order],
  ['replies', replies],
  ['broadcast', broadcast],
  ['calls', calls],
  ['time', time],
  ['durability', durability],
  ['limits', limits],
  ['sessions', sessions],
  ['strikes', strikes],
  ['resend', resend],
  ['faults', faults],
  ['values', values],
  ['refused', refused],
  ['keys', keys],
  ['rows', rows],
  ['casts', casts],
  ['payments', payments],
  ['bind', bind],
  ['resume', resume],
  ['identity', identity],
]

export interface ConformanceOptions {
  /** A new host for each case; else one for all of them. */
  readonly newHostPerCase?: boolean
  /** What the host is known to lack. */
  readonly missingFeatures: readonly HostFeature[]
}

/** Runs the suite against the hosts that `make` gives. */
export function registerConformance(
  name: string,
  make: () => Promise<Host>,
  { newHostPerCase: fresh = false, missingFeatures: lacks }: ConformanceOptions,
): void {
  let shared: Promise<Host> | null = null
  let passed = 0
  let total = 0
  const host = (): Promise<Host> => (fresh ? make() : (shared ??= make()))
  const skippedByFeature = new Map<HostFeature, number>()
  for (const [group, cases] of CASES) {
    for (const one of cases) {
      total++
      const missing = one.needs?.filter((need) => lacks.includes(need)) ?? []
      for (const need of missing) skippedByFeature.set(need, (skippedByFeature.get(need) ?? 0) + 1)
      if (missing.length > 0) continue
      test(`${name}, ${group}: ${one.name}`, async () => {
        const currentHost = await host()
        const { lent, giveBack } = trackClients(currentHost)
        try {
          await one.run(lent)
        } finally {
          giveBack()
          if (fresh) await currentHost.close()
        }
        passed++
      })
    }
  }
  test(`${name}: what cannot run here is what the host says it lacks`, async () => {
    const currentHost = await host()
    try {
      assert.deepEqual(Object.keys(currentHost.cannot).sort(), [...lacks].sort())
      const names = new Set(CASES.flatMap(([, cases]) => cases.map((one) => one.name)))
      assert.equal(names.size, total, 'every case has a name of its own')
      const reasons = [...skippedByFeature].map(
        ([need, count]) => `${count} need ${need} (${currentHost.cannot[need]})`,
      )
      const absent = total - CASES.flatMap(([, cases]) => cases).filter((one) => isRunnable(one, lacks)).length
      const rest = absent === 0 ? '' : `, ${absent} not for this host: ${reasons.join('; ')}`
      console.log(`conformance ${name}: ${passed} passed of ${total}${rest}`)
    } finally {
      await currentHost.close()
    }
  })
}

function isRunnable(one: Case, lacks: readonly HostFeature[]): boolean {
  return !one.needs?.some((need) => lacks.includes(need))
}

/** The host with a list of what a case opened, so that nothing of one case reaches the next. */
function trackClients(host: Host): { lent: Host; giveBack: () => void } {
  const open: (() => void)[] = []
  const tracked: Host = {
    ...host,
    rawClient: async (kind) => {
      const client = await host.rawClient(kind)
      open.push(() => client.close())
      return client
    },
    sdkClient: async () => {
      const client = await host.sdkClient()
      open.push(() => void client.close())
      return client
    },
  }
  const closeClients = (): void => {
    for (const close of open) close()
  }
  return { lent: tracked, giveBack: closeClients }
}
