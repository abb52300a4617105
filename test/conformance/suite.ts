// Registers every case for one host. Invariant: a case is left out only where the host lacks a feature that it needs; the
// set of missing features is asserted, and one line reports the counts and the reasons.

import assert from 'node:assert/strict'
import test, { after } from 'node:test'
import { cases as addresses } from './cases/addresses.ts'
import { cases as activation } from './cases/activation.ts'
import { cases as answers } from './cases/answers.ts'
import { cases as bind } from './cases/bind.ts'
import { cases as broadcast } from './cases/broadcast.ts'
import { cases as calls } from './cases/calls.ts'
import { cases as casts } from './cases/casts.ts'
import { cases as data } from './cases/data.ts'
import { cases as durability } from './cases/durability.ts'
import { cases as faults } from './cases/faults.ts'
import { cases as framing } from './cases/framing.ts'
import { cases as identity } from './cases/identity.ts'
import { cases as keys } from './cases/keys.ts'
import { cases as limits } from './cases/limits.ts'
import { cases as messages } from './cases/messages.ts'
import { cases as order } from './cases/order.ts'
import { cases as payments } from './cases/payments.ts'
import type { Case } from './cases/case.ts'
import { cases as refused } from './cases/refused.ts'
import { cases as replies } from './cases/replies.ts'
import { cases as resend } from './cases/resend.ts'
import { cases as resume } from './cases/resume.ts'
import { cases as rows } from './cases/rows.ts'
import { cases as sessions } from './cases/sessions.ts'
import { cases as slowReaders } from './cases/slowreaders.ts'
import { cases as strikes } from './cases/strikes.ts'
import { cases as time } from './cases/time.ts'
import { cases as values } from './cases/values.ts'
import { cases as tokens } from './cases/tokens.ts'
import type { Host, HostFeature } from './host.ts'

const CASES: readonly (readonly [string, readonly Case[]])[] = [
  ['framing', framing],
  ['messages', messages],
  ['order', order],
  ['replies', replies],
  ['broadcast', broadcast],
  ['calls', calls],
  ['time', time],
  ['durability', durability],
  ['data', data],
  ['limits', limits],
  ['slow readers', slowReaders],
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
  ['addresses', addresses],
  ['activation', activation],
  ['tokens', tokens],
  ['answers', answers],
]

export interface ConformanceOptions {
  /** A new host for each case; default: one host for all. */
  readonly newHostPerCase?: boolean
  /** Features that the host is expected to lack. */
  readonly missingFeatures: readonly HostFeature[]
  /** The only group of cases to run. */
  readonly onlyGroup?: string
}

/** Runs the suite on the hosts that `makeHost` returns. */
export function registerConformance(
  name: string,
  makeHost: () => Promise<Host>,
  { newHostPerCase = false, missingFeatures, onlyGroup }: ConformanceOptions,
): void {
  let sharedHost: Promise<Host> | null = null
  let passed = 0
  let skipped = 0
  const getHost = (): Promise<Host> => (newHostPerCase ? makeHost() : (sharedHost ??= makeHost()))
  const skippedByFeature = new Map<HostFeature, number>()
  const caseNames: string[] = []
  for (const [group, cases] of CASES.filter(([group]) => onlyGroup === undefined || group === onlyGroup)) {
    for (const { name: caseName, needs, run } of cases) {
      caseNames.push(caseName)
      const missing = needs?.filter((need) => missingFeatures.includes(need)) ?? []
      for (const need of missing) skippedByFeature.set(need, (skippedByFeature.get(need) ?? 0) + 1)
      if (missing.length > 0) {
        skipped++
        continue
      }
      test(`${name}, ${group}: ${caseName}`, async () => {
        const host = await getHost()
        const { tracked, closeClients } = trackClients(host)
        try {
          await run(tracked)
        } finally {
          closeClients()
          if (newHostPerCase) await host.close()
        }
        passed++
      })
    }
  }
  test(`${name}: the host lacks exactly the expected features`, async () => {
    const host = await getHost()
    if (newHostPerCase) await host.close()
    assert.deepEqual(Object.keys(host.cannot).sort(), [...missingFeatures].sort())
    assert.equal(new Set(caseNames).size, caseNames.length, 'case names are unique')
    const reasons = [...skippedByFeature].map(([need, count]) => `${count} need ${need} (${host.cannot[need]})`)
    const rest = skipped === 0 ? '' : `, ${skipped} not for this host: ${reasons.join('; ')}`
    console.log(`conformance ${name}: ${passed} passed of ${caseNames.length}${rest}`)
  })
  // Also when a name pattern selects only some of the cases.
  after(async () => (await sharedHost)?.close())
}

/** The host, and a function that closes all clients opened through it, so that no client outlives its case. */
function trackClients(host: Host): { tracked: Host; closeClients: () => void } {
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
  return { tracked, closeClients }
}
