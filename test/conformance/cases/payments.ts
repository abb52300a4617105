// Payments by durable casts: how they fail, their order, many at a time; and whatever is lost meanwhile, no gold comes
// or goes.

import assert from 'node:assert/strict'
import { Bank } from '../castshards.ts'
import type { CommitFaults, Host, HostFeature } from '../host.ts'
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

/** How a cast fails, and what its hook hears. */
const FAILURES: readonly (readonly [
  what: string,
  start: (from: BankClient, to: string) => Promise<unknown>,
  heard: string,
])[] = [
  ['a refusal', (from, to) => from.pay({ to: [to], amount: 50, id: 'x' }), 'x no FULL'],
  ['a bug', (from, to) => from.pay({ to: [to], amount: 5, id: 'x', bug: true }), 'x no INTERNAL'],
  ['an unknown contract', (from, to) => from.misdirect({ to, what: 'contract' }), 'contract no UNKNOWN_CONTRACT'],
  ['an unknown command', (from, to) => from.misdirect({ to, what: 'command' }), 'command no UNKNOWN_COMMAND'],
  ['an input of another version', (from, to) => from.misdirect({ to, what: 'input' }), 'input no BAD_INPUT'],
  ['a service', (from, to) => from.misdirect({ to, what: 'service' }), 'service no FORBIDDEN'],
]

function sumOf(accounts: readonly Account[], what: 'gold' | 'pending'): number {
  return accounts.reduce((all, one) => all + one[what], 0)
}

/** Payments at random between some banks, while `disturb` is called between them. */
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
  let seed = 5
  const die = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below
  for (let round = 0; round < rounds; round++) {
    const to = [keys[die(5)]!, keys[die(5)]!].slice(0, 1 + die(2))
    const paid = banks[die(5)]!.pay({ to, amount: 1 + die(90), id: `r${round}`, bug: die(9) === 0 })
    calls.push(paid.catch(() => null))
    await disturb(round, keys)
  }
  await awaitAllOn(host, calls)
  const accounts: Account[] = []
  for (const bank of banks) accounts.push(await settledAccount(host, bank))
  // What one bank is still paid by another may come after it was asked.
  for (const [i, bank] of banks.entries()) accounts[i] = await account(host, bank)
  assert.deepEqual([sumOf(accounts, 'gold'), sumOf(accounts, 'pending')], [5_000, 0])
  const lines = accounts.map(({ lines }) => lines.filter((line) => line.startsWith('took ')).length)
  const answered = accounts.map(({ lines }) => lines.filter((line) => line.includes(' ok {')).length)
  assert.equal(
    lines.reduce((a, b) => a + b),
    answered.reduce((a, b) => a + b),
  )
}

const needs: readonly HostFeature[] = ['abort']
const KINDS: readonly Parameters<CommitFaults['injectNext']>[0][] = ['failed', 'applied', 'dropped']

export const cases: readonly Case[] = [
  {
    name: 'a durable cast of a turn that throws is dropped',
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
    name: 'how a durable cast failed reaches its answer, the receiver keeps nothing of it, and the next one is taken',
    run: async (host) => {
      for (const [what, start, heard] of FAILURES) {
        const { from, to, keys } = await openBankPair(host, 20)
        await awaitOn(host, start(from, keys.to), what)
        const good = (one: Account): boolean => one.pending === 0 && one.lines.length > 0
        const { gold, lines } = await pollUntil(host, () => from.account(), good, what)
        assert.deepEqual([gold, lines], [1_000, [heard]], what)
        await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'next' }))
        assert.deepEqual((await settledAccount(host, from)).lines, [heard, 'next ok {"gold":5}'], what)
        assert.deepEqual((await account(host, to)).lines, ['took next 5'], what)
      }
    },
  },
  ...(['bug', 'room'] as const).map((why): Case => ({
    name: `a failure is remembered like any answer: ${why}`,
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
    name: 'an answer whose hook throws is heard again until it is acted on, once',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'p', fails: 2 }))
      const { gold, lines, tries } = await settledAccount(host, from)
      assert.deepEqual([gold, lines, tries], [995, ['p ok {"gold":5}'], 3])
      assert.deepEqual((await account(host, to)).lines, ['took p 5'])
    },
  },
  {
    name: 'an answer whose hook always throws is given up, and those behind it are heard',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'p', fails: 6 }))
      await awaitOn(host, from.pay({ to: [keys.to], amount: 7, id: 'q' }))
      const heard = ({ lines }: Account): boolean => lines.length > 0
      const { pending, lines, tries } = await pollUntil(host, () => from.account(), heard, 'the next answer')
      assert.deepEqual([pending, lines, tries], [5, ['q ok {"gold":12}'], 7])
      assert.deepEqual((await account(host, to)).lines, ['took p 5', 'took q 7'])
    },
  },
  {
    name: 'a durable cast without a hook is taken as well, and so is one to the own shard',
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      await awaitOn(host, from.pay({ to: [keys.to], amount: 5, id: 'p', end: 'silent' }))
      await pollUntil(
        host,
        () => to.account(),
        ({ gold }) => gold === 5,
        'it is taken',
      )
      await awaitOn(host, from.pay({ to: [keys.from], amount: 7, id: 'own' }))
      const { gold, lines } = await settledAccount(host, from)
      assert.deepEqual([gold, lines], [995, ['took own 7', 'own ok {"gold":995}']])
    },
  },
  {
    name: 'durable casts from one shard to another are taken in the order in which they were made, also over aborts',
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
    name: 'two hundred durable casts of one turn to one shard, in order',
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
    name: 'two hundred durable casts of one turn to fifty shards',
    run: async (host) => {
      const { from } = await openBankPair(host)
      const client = await host.sdkClient()
      const keys = Array.from({ length: 50 }, () => uniqueName('to'))
      await awaitOn(host, from.pay({ to: Array.from({ length: 200 }, (_, i) => keys[i % 50]!), amount: 2, id: 'p' }))
      const { gold, lines } = await settledAccount(host, from)
      assert.deepEqual([gold, lines.length, new Set(lines.map((line) => line.split(' ')[0])).size], [600, 200, 200])
      for (const [i, key] of keys.slice(0, 20).entries()) {
        const one = await account(host, client.at(Bank, key))
        assert.deepEqual(
          one.lines,
          [0, 1, 2, 3].map((n) => `took p.${i + 50 * n} 2`),
        )
      }
    },
  },
  {
    name: 'a shard that nobody speaks to casts, and hears its answer',
    needs,
    run: async (host) => {
      const { from, to, keys } = await openBankPair(host)
      const by = uniqueName('by')
      await awaitOn(host, from.order({ by, to: keys.to, amount: 9 }))
      await pollUntil(
        host,
        () => to.account(),
        ({ gold }) => gold === 9,
        'it is taken',
      )
      const bank = (await host.sdkClient()).at(Bank, by)
      assert.deepEqual((await settledAccount(host, bank)).lines, ['ordered ok {"gold":9}'])
    },
  },
  {
    name: 'gold is conserved while shards pay each other',
    run: (host) => randomPayments(host, 60, async () => {}),
  },
  {
    name: 'gold is conserved while shards that pay each other are lost at random',
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
    name: 'gold is conserved while commits of shards that pay each other fail now and then',
    needs: ['commitFaults'],
    run: (host) =>
      randomPayments(host, 100, async (round) => {
        if (round % 9 === 2) await host.faults!.injectNext(KINDS[((round / 9) % 3) | 0]!)
        if (round % 4 === 0) await host.sleep(2)
      }),
  },
  {
    name: 'gold is conserved over the death of the process that runs the shards',
    needs: ['kill'],
    run: (host) =>
      randomPayments(host, 80, async (round) => {
        if (round % 10 === 0) await host.sleep(1)
        if (round === 30 || round === 60) await host.killProcess!()
      }),
  },
]
