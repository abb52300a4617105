// Durable casts. Invariant: whatever fails, at any moment, a payment is taken once and its answer hook takes effect
// once.

import assert from 'node:assert/strict'
import type { Remote } from '../../../client/index.ts'
import { Bank } from '../castshards.ts'
import { Gate } from '../contracts.ts'
import { FAULTS, type Host } from '../host.ts'
import {
  awaitOn,
  END_NAMES,
  endActivation,
  pollUntil,
  uniqueName,
  callWithRetry,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

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
/** Waits until no payment of the bank is pending; returns its account. */
export function settledAccount(host: Host, bank: BankClient): Promise<Account> {
  const isSettled = ({ pending }: Account): boolean => pending === 0
  return pollUntil(host, () => bank.account(), isSettled, 'all payments are answered')
}

/** Makes one payment, runs `disturb` while it waits at its gate (null = instead of it), and asserts the result. */
async function assertPaidOnce(
  host: Host,
  at: 'gate' | 'hookGate' | null,
  disturb: (pair: BankPair, proceed: () => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const pair = await openBankPair(host)
  const gate = uniqueName('gate')
  const pay = (): Promise<unknown> =>
    pair.from.pay({ to: [pair.keys.to], amount: 5, id: 'p', ...(at && { [at]: gate }) })
  const open = (): Promise<unknown> => callWithRetry(host, () => pair.gates.open({ name: gate }))
  if (at) {
    const paid = pay()
    await waitForTurnsAtGate(host, pair.gates, gate)
    await disturb(pair, open)
    await awaitOn(host, paid)
  } else await disturb(pair, pay)
  const from = await settledAccount(host, pair.from)
  assert.deepEqual([from.gold, from.lines], [995, ['p ok {"gold":5}']])
  // The payment has no later effect.
  await host.sleep(30)
  const to = await account(host, pair.to)
  assert.deepEqual([to.gold, to.lines], [5, ['took p 5']])
  assert.equal((await account(host, pair.from)).lines.length, 1)
}

/** The three commits of a durable cast, and the gate at which the turn waits before. */
const COMMITS = [
  ['the payment', null],
  ['the take', 'gate'],
  ['the answer', 'hookGate'],
] as const
const ENDS = ['from', 'to'] as const
const NAMES = { from: 'the sender', to: 'the receiver' } as const

export const cases: readonly Case[] = [
  {
    name: 'a durable cast is taken, and its answer commits together with the writes of its hook',
    run: (host) =>
      assertPaidOnce(host, null, async (_pair, pay) => {
        assert.deepEqual(await awaitOn(host, pay()), { gold: 995 })
      }),
  },
  ...COMMITS.flatMap(([what, at]) =>
    FAULTS.map((fault): Case => ({
      name: `a durable cast takes effect once when the commit of ${what} is ${fault}`,
      needs: ['commitFaults'],
      run: (host) =>
        assertPaidOnce(host, at, async (_pair, proceed) => {
          await host.faults!.injectNext(fault)
          await (at ? proceed() : awaitOn(host, proceed()))
        }),
    })),
  ),
  ...COMMITS.flatMap(([what, at]) =>
    ENDS.filter((end) => at !== null || end === 'from').map((end): Case => ({
      name: `a durable cast takes effect once when ${NAMES[end]} is aborted while the commit of ${what} is pending`,
      needs: ['commitFaults', 'abort'],
      run: (host) =>
        assertPaidOnce(host, at, async ({ keys }, proceed) => {
          const release = await host.faults!.holdCommits()
          const done = proceed()
          await host.sleep(30)
          await host.abortShard('bank', keys[end])
          await host.sleep(5)
          await release()
          await awaitOn(host, done)
        }),
    })),
  ),
  ...COMMITS.flatMap(([what, at]) =>
    (['abort', 'evict', 'kill'] as const).flatMap((how) =>
      at === null
        ? []
        : (how === 'kill' ? (['from'] as const) : ENDS).map((end): Case => ({
            name: `a durable cast takes effect once after ${END_NAMES[how]} of ${NAMES[end]} before the commit of ${what}`,
            needs: [how],
            run: (host) =>
              assertPaidOnce(host, at, async ({ keys }, open) => {
                // An eviction waits for the turn, which waits for the gate.
                const ended = endActivation(host, how, 'bank', keys[end]).catch(() => {})
                if (how !== 'evict') await ended
                await open()
                await awaitOn(host, ended)
              }),
          })),
    ),
  ),
]
