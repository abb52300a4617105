// Durable casts: whatever is lost, at whatever moment, a payment is taken once and its answer is acted on once.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import { Bank } from '../castshards.ts'
import { Gate } from '../contracts.ts'
import type { CommitFaults, Host } from '../host.ts'
import { awaitOn, pollUntil, uniqueName, callWithRetry, waitForTurnsAtGate, type Case } from './case.ts'

export type BankClient = Remote<(typeof Bank)['entries']>
export interface Account {
  readonly gold: number
  readonly pending: number
  readonly lines: string[]
  readonly tries: number
}
export interface BankPair {
  readonly from: BankClient
  readonly to: BankClient
  readonly keys: { readonly from: string; readonly to: string }
  readonly gates: Remote<(typeof Gate)['entries']>
}

export async function openBankPair(host: Host, room = 1_000): Promise<BankPair> {
  const keys = { from: uniqueName('from'), to: uniqueName('to') }
  const client = await host.sdkClient()
  const [from, to] = [client.at(Bank, keys.from), client.at(Bank, keys.to)]
  await awaitOn(host, from.open({ gold: 1_000, room: 10_000 }))
  await awaitOn(host, to.open({ gold: 0, room }))
  return { from, to, keys, gates: client.at(Gate) }
}
export function account(host: Host, bank: BankClient): Promise<Account> {
  return callWithRetry(host, () => bank.account())
}
/** The account when no payment of it is on its way any more. */
export function settledAccount(host: Host, bank: BankClient): Promise<Account> {
  return pollUntil(
    host,
    () => bank.account(),
    ({ pending }) => pending === 0,
    'all payments are answered',
  )
}

/** One payment that something happens to, and what must have come of it. */
async function assertPaidOnce(
  host: Host,
  at: 'gate' | 'hookGate' | null,
  meanwhile: (pair: BankPair, open: () => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const two = await openBankPair(host)
  const gate = uniqueName('gate')
  const pay = (): Promise<unknown> => two.from.pay({ to: [two.keys.to], amount: 5, id: 'p', ...(at && { [at]: gate }) })
  const open = (): Promise<unknown> => callWithRetry(host, () => two.gates.open({ name: gate }))
  if (at) {
    const paid = pay()
    await waitForTurnsAtGate(host, two.gates, gate)
    await meanwhile(two, open)
    await awaitOn(host, paid)
  } else await meanwhile(two, pay)
  const from = await settledAccount(host, two.from)
  assert.deepEqual([from.gold, from.lines], [995, ['p ok {"gold":5}']])
  // Nothing of it comes late.
  await host.sleep(30)
  const to = await account(host, two.to)
  assert.deepEqual([to.gold, to.lines], [5, ['took p 5']])
  assert.equal((await account(host, two.from)).lines.length, 1)
}

const KINDS: readonly Parameters<CommitFaults['injectNext']>[0][] = ['failed', 'applied', 'dropped']
/** Whose commit it is, and where the turn waits before. */
const COMMITS = [
  ['the payment', null],
  ['the take', 'gate'],
  ['the answer', 'hookGate'],
] as const
const ENDS = ['from', 'to'] as const
const NAMES = { from: 'the sender', to: 'the receiver' } as const

export const cases: readonly Case[] = [
  {
    name: 'a durable cast is taken, and its answer ends it in one commit with what its hook writes',
    run: (host) =>
      assertPaidOnce(host, null, async (_pair, pay) => {
        assert.deepEqual(await awaitOn(host, pay()), { gold: 995 })
      }),
  },
  ...COMMITS.flatMap(([what, at]) =>
    KINDS.map((kind): Case => ({
      name: `a durable cast takes effect once where the commit of ${what} is ${kind}`,
      needs: ['commitFaults'],
      run: (host) =>
        assertPaidOnce(host, at, async (_pair, go) => {
          await host.faults!.injectNext(kind)
          await (at ? go() : awaitOn(host, go()))
        }),
    })),
  ),
  ...COMMITS.flatMap(([what, at]) =>
    ENDS.filter((end) => at !== null || end === 'from').map((end): Case => ({
      name: `a durable cast takes effect once where ${NAMES[end]} is lost while the commit of ${what} is on its way`,
      needs: ['commitFaults', 'abort'],
      run: (host) =>
        assertPaidOnce(host, at, async ({ keys }, go) => {
          const release = await host.faults!.holdCommits()
          const going = go()
          await host.sleep(30)
          await host.abortShard('bank', keys[end])
          await host.sleep(5)
          await release()
          await awaitOn(host, going)
        }),
    })),
  ),
  ...COMMITS.flatMap(([what, at]) =>
    (['abort', 'evict', 'kill'] as const).flatMap((how) =>
      at === null
        ? []
        : (how === 'kill' ? (['from'] as const) : ENDS).map((end): Case => ({
            name: `a durable cast takes effect once over ${how} of ${NAMES[end]} before the commit of ${what}`,
            needs: [how],
            run: (host) =>
              assertPaidOnce(host, at, async ({ keys }, open) => {
                // An eviction waits for the turn, which waits for the gate.
                const gone =
                  how === 'kill'
                    ? host.killProcess!()
                    : host[how === 'evict' ? 'evictShard' : 'abortShard']('bank', keys[end]).catch(() => undefined)
                if (how !== 'evict') await gone
                await open()
                await awaitOn(host, gone)
              }),
          })),
    ),
  ),
]
