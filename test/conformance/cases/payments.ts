// Payments by durable casts: failures, order, and many at a time. Invariant: the total gold stays the same, whatever
// fails.

import assert from 'node:assert/strict'
import { Random } from '../../support/random.ts'
import { Bank } from '../castshards.ts'
import { FAULTS, type Host, type HostFeature } from '../host.ts'
import { account, openBankPair, settledAccount, type Account, type BankClient } from './casts.ts'
import {
  awaitOn,
  awaitAllOn,
  pollUntil,
  awaitFailure,
  uniqueName,
  callWithRetry,
  waitForTurnsAtGate,
  type Case,
} from './case.ts'

/** Failing casts, each with the line that its answer hook writes. */
const FAILURES: readonly (readonly [
  what: string,
  start: (from: BankClient, to: string) => Promise<unknown>,
  line: string,
])[] = [
  ['a refusal', (from, to) => from.pay({ to: [to], amount: 50, id: 'x' }), 'x no FULL'],
  ['a bug', (from, to) => from.pay({ to: [to], amount: 5, id: 'x', bug: true }), 'x no INTERNAL'],
  ['an unknown contract', (from, to) => from.misdirect({ to, what: 'contract' }), 'contract no UNKNOWN_CONTRACT'],
  ['an unknown command', (from, to) => from.misdirect({ to, what: 'command' }), 'command no UNKNOWN_COMMAND'],
  ['an input of another version', (from, to) => from.misdirect({ to, what: 'input' }), 'input no BAD_INPUT'],
  ['a service', (from, to) => from.misdirect({ to, what: 'service' }), 'service no FORBIDDEN'],
]

function sumOf(accounts: readonly Account[], what: 'gold' | 'pending'): number {
  return accounts.reduce((sum, each) => sum + each[what], 0)
}

async function waitForGold(host: Host, bank: BankClient, gold: number): Promise<void> {
  const hasGold = (account: Account): boolean => account.gold === gold
  await pollUntil(host, () => bank.account(), hasGold, `${gold} gold`)
}

/** Random payments between five banks; `disturb` is called after each. */
async function randomPayments(
  host: Host,
  rounds: number,
  disturb: (round: number, keys: readonly string[]) => Promise<void>,
): Promise<void> {
  const client = await host.sdkClient()
  const keys = Array.from({ length: 5 }, () => uniqueName('bank'))
  const banks = keys.map((key) => client.at(Bank, key))
  await awaitAllOn(
    host,
    banks.map((bank) => bank.open({ gold: 1_000, room: 1_300 })),
  )
  const calls: Promise<unknown>[] = []
  const random = new Random(5)
  for (let round = 0; round < rounds; round++) {
    const to = Array.from({ length: 1 + random.below(2) }, () => random.pick(keys))
    const payment = { to, amount: 1 + random.below(90), id: `r${round}`, bug: random.chance(1 / 9) }
    const call = random.pick(banks).pay(payment)
    calls.push(call.catch(() => null))
    await disturb(round, keys)
  }
  await awaitAllOn(host, calls)
  const accounts: Account[] = []
  for (const bank of banks) accounts.push(await settledAccount(host, bank))
  // A bank may be paid after its account was read.
  for (const [i, bank] of banks.entries()) accounts[i] = await account(host, bank)
  assert.deepEqual([sumOf(accounts, 'gold'), sumOf(accounts, 'pending')], [5_000, 0])
  const lines = accounts.flatMap(({ lines }) => lines)
  const taken = lines.filter((line) => line.startsWith('took '))
  assert.equal(lines.filter((line) => line.includes(' ok {')).length, taken.length)
}

const needs: readonly HostFeature[] = ['abort']

export const cases: readonly Case[] = [
  {
    name: 'a durable cast is not sent when its turn throws',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      const pay = from.pay({ to: [keys.to, keys.to], amount: 5, id: 'p', end: 'bug' })
      assert.equal((await awaitFailure(host, pay)).code, 'INTERNAL')
      await host.sleep(50)
      assert.deepEqual(await account(host, from), { gold: 1_000, pending: 0, lines: [], tries: 0 })
      assert.deepEqual((await account(host, to)).lines, [])
    },
  },
  {
    name: 'a failed durable cast answers with its code and changes nothing at the receiver, and the next one is taken',
    run: async (host) => {
      for (const [what, start, line] of FAILURES) {
        const { from, to, keys } = await openBankPair(host, 20)
        await awaitOn(host, start(from, keys.to), what)
        const isAnswered = ({ pending, lines }: Account): boolean => pending === 0 && lines.length > 0
        const { gold, lines } = await pollUntil(host, () => from.account(), isAnswered, what)
        assert.deepEqual([gold, lines], [1_000, [line]], what)
        await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'next' }))
        assert.deepEqual((await settledAccount(host, from)).lines, [line, 'next ok {"gold":5}'], what)
        assert.deepEqual((await account(host, to)).lines, ['took next 5'], what)
      }
    },
  },
  ...(['bug', 'room'] as const).map((why): Case => ({
    name: `a resent durable cast gets the stored failure: ${why}`,
    needs: ['commitFaults'],
    run: async (host) => {
      const { from, to, keys, gates } = await openBankPair(host, 20)
      const gate = uniqueName('gate')
      await awaitOn(host, from.pay({ to: [keys.to], amount: 15, id: 'first' }))
      const [amount, bug] = why === 'bug' ? [1, true] : [15, false]
      await awaitOn(host, from.pay({ to: [keys.to], amount, id: 'x', gate, bug }))
      await waitForTurnsAtGate(host, gates, gate)
      await host.faults!.injectNext('applied')
      await callWithRetry(host, () => gates.open({ name: gate }))
      const { gold, lines } = await settledAccount(host, from)
      const code = why === 'bug' ? 'INTERNAL' : 'FULL'
      assert.deepEqual([gold, lines], [985, ['first ok {"gold":15}', `x no ${code}`]])
      assert.deepEqual((await account(host, to)).lines, ['took first 15'])
    },
  })),
  {
    name: 'an answer is delivered again while its hook throws, and takes effect once',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'p', fails: 2 }))
      const { gold, lines, tries } = await settledAccount(host, from)
      assert.deepEqual([gold, lines, tries], [995, ['p ok {"gold":5}'], 3])
      assert.deepEqual((await account(host, to)).lines, ['took p 5'])
    },
  },
  {
    name: 'an answer whose hook always throws is discarded, and the following answers are delivered',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'p', fails: 6 }))
      await awaitOn(host, from.pay({ to: [keys.to], amount: 7, id: 'q' }))
      const hasLine = ({ lines }: Account): boolean => lines.length > 0
      const { pending, lines, tries } = await pollUntil(host, () => from.account(), hasLine, 'the next answer')
      assert.deepEqual([pending, lines, tries], [5, ['q ok {"gold":12}'], 7])
      assert.deepEqual((await account(host, to)).lines, ['took p 5', 'took q 7'])
    },
  },
  {
    name: 'a durable cast without an answer hook is taken, and so is one to the own shard',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'p', end: 'silent' }))
      await waitForGold(host, to, 5)
      await awaitOn(host, from.pay({ to: [keys.from], amount: 7, id: 'own' }))
      const { gold, lines } = await settledAccount(host, from)
      assert.deepEqual([gold, lines], [995, ['took own 7', 'own ok {"gold":995}']])
    },
  },
  {
    name: 'durable casts from one shard to another are taken in the order of their turns, also after aborts',
    needs,
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        calls.push(from.pay({ to: [keys.to], amount: 1, id: `p${i}` }))
        if (i % 9 === 4) await host.sleep(2)
        if (i % 20 === 7) await host.abortShard('bank', keys.to)
        if (i % 20 === 15) await host.abortShard('bank', keys.from)
      }
      await awaitAllOn(host, calls)
      const { gold, lines } = await settledAccount(host, from)
      assert.equal(gold, 940)
      assert.deepEqual(
        (await account(host, to)).lines,
        calls.map((_, i) => `took p${i} 1`),
      )
      assert.deepEqual(
        lines,
        calls.map((_, i) => `p${i} ok {"gold":${i + 1}}`),
      )
    },
  },
  {
    name: '200 durable casts of one turn to one shard are taken in order',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      await awaitOn(host, from.pay({ to: Array.from({ length: 200 }, () => keys.to), amount: 1, id: 'p' }))
      const { gold } = await settledAccount(host, from)
      const { gold: taken, lines } = await account(host, to)
      assert.deepEqual([gold, taken], [800, 200])
      assert.deepEqual(
        lines,
        lines.map((_, i) => `took p.${i} 1`),
      )
    },
  },
  {
    name: '200 durable casts of one turn to 50 shards are taken in order',
    run: async (host) => {
      const { from } = await openBankPair(host)
      const client = await host.sdkClient()
      const keys = Array.from({ length: 50 }, () => uniqueName('to'))
      await awaitOn(host, from.pay({ to: Array.from({ length: 200 }, (_, i) => keys[i % 50]!), amount: 2, id: 'p' }))
      const { gold, lines } = await settledAccount(host, from)
      assert.deepEqual([gold, lines.length, new Set(lines.map((line) => line.split(' ')[0])).size], [600, 200, 200])
      for (const [i, key] of keys.slice(0, 20).entries()) {
        const expected = [0, 1, 2, 3].map((n) => `took p.${i + 50 * n} 2`)
        assert.deepEqual((await account(host, client.at(Bank, key))).lines, expected)
      }
    },
  },
  {
    name: 'a shard without clients sends a durable cast and receives its answer',
    needs,
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      const by = uniqueName('by')
      await awaitOn(host, from.castPayment({ by, to: keys.to, amount: 9 }))
      await waitForGold(host, to, 9)
      const bank = (await host.sdkClient()).at(Bank, by)
      assert.deepEqual((await settledAccount(host, bank)).lines, ['byCast ok {"gold":9}'])
    },
  },
  {
    name: 'gold is conserved while shards pay each other',
    run: (host) => randomPayments(host, 60, async () => {}),
  },
  {
    name: 'gold is conserved while shards that pay each other are aborted at random',
    needs: ['abort', 'commitFaults'],
    run: (host) => {
      let release: (() => Promise<void>) | null = null
      return randomPayments(host, 84, async (round, keys) => {
        if (round % 6 === 1) release = await host.faults!.holdCommits()
        if (round % 3 === 0) await host.sleep(round % 4)
        if (round % 6 === 3 || round % 7 === 3) await host.abortShard('bank', keys[round % 5]!)
        if (round % 6 === 4) await release!()
      })
    },
  },
  {
    name: 'gold is conserved while some commits of shards that pay each other fail',
    needs: ['commitFaults'],
    run: (host) =>
      randomPayments(host, 100, async (round) => {
        if (round % 9 === 2) await host.faults!.injectNext(FAULTS[Math.floor(round / 9) % 3]!)
        if (round % 4 === 0) await host.sleep(2)
      }),
  },
  {
    name: 'gold is conserved while the process that runs the shards is killed',
    needs: ['kill'],
    run: (host) =>
      randomPayments(host, 80, async (round) => {
        if (round % 10 === 0) await host.sleep(1)
        if (round === 30 || round === 60) await host.killProcess!()
      }),
  },
]
