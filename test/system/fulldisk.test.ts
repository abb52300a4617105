// A full disk (a small tmpfs): a write that cannot be stored is not acknowledged, other players continue, and after
// space is freed all calls complete on the same connections.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'

import { connect } from '../../client/index.ts'
import { Market, Purse } from '../../examples/market/contract.ts'
import { waitUntil } from '../support/database.ts'
import { serve } from '../support/program.ts'
import { assertField } from '../support/assertfield.ts'

const SIZE = '4m'

/** Mounts a folder with a disk of SIZE; returns null if this process may not mount. */
function mountSmallDisk(): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'firefly-full-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'tmpfs', folder], { stdio: 'ignore' })
    return folder
  } catch {
    rmSync(folder, { recursive: true })
    return null
  }
}

function fillDisk(path: string): void {
  for (const size of [65_536, 4_096, 512]) {
    try {
      for (;;) appendFileSync(path, Buffer.alloc(size))
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
  }
}

test('on a full disk no lost write is acknowledged and reads work; after space is freed all calls complete', async (t) => {
  const folder = mountSmallDisk()
  if (folder === null) return t.skip('this process may not mount a small disk')
  t.after(() => {
    execFileSync('umount', ['-l', folder])
    rmSync(folder, { recursive: true })
  })
  const program = await serve('examples/market', ['--slots', '2'], join(folder, 'data'))
  let log = ''
  program.child.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const url = `${program.http.replace('http', 'ws')}/ws`
  const names = ['ada', 'bob', 'cleo', 'dora']
  const games = await Promise.all(names.map(() => connect(url)))
  t.after(() => Promise.all([...games.map((game) => game.close()), program.stop()]))
  for (const [i, player] of names.entries()) await games[i]!.at(Market).open({ player })
  const purses = games.map((game) => game.at(Purse))
  for (const purse of purses) assert.deepEqual(await purse.deposit({ amount: 10, id: 'first' }), { gold: 10 })

  const filler = join(folder, 'filler')
  fillDisk(filler)
  // Some deposits may still fit into existing pages; after that all fail.
  const acknowledged = names.map(() => 10)
  const deposited = names.map(() => 0)
  const answers: Promise<unknown>[] = []
  const deposit = (i: number): void => {
    const amount = 1
    deposited[i]! += amount
    const answer = purses[i]!.deposit({ amount, id: `full-${deposited[i]}` }).then(({ gold }) => {
      acknowledged[i] = Math.max(acknowledged[i]!, gold)
    })
    answers.push(answer)
  }
  const isFull = (): boolean => log.includes('no space is left')
  for (let n = 0; n < 200 && !isFull(); n++) {
    for (const i of [0, 1]) deposit(i)
    await new Promise((resolve) => setTimeout(resolve, 10))
    fillDisk(filler)
  }
  assert.ok(isFull(), 'the disk was never full')
  // Players without a failed commit are answered, also a new one.
  assert.deepEqual(await purses[3]!.balance(), { gold: 10 })
  const failures = (): number => log.split('the activation ends').length - 1
  await waitUntil(() => failures() >= 12)
  assert.ok(failures() < 100, `${failures()} activations ended`)

  rmSync(filler)
  await Promise.all(answers)
  for (const i of [0, 1]) assert.deepEqual(await purses[i]!.balance(), { gold: 10 + deposited[i]! })
  assert.deepEqual(
    acknowledged.slice(0, 2),
    deposited.slice(0, 2).map((sum) => 10 + sum),
  )
  assert.deepEqual(await purses[2]!.deposit({ amount: 5, id: 'after' }), { gold: 15 })
  assertField(
    games,
    'state',
    names.map(() => 'open'),
  )
})
