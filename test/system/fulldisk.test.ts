// A disk that is really full: what cannot be stored is not acknowledged, other players go on, and when there is room
// again everything goes on by itself, on the same connections.

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

const SIZE = '4m'

/** A folder on a disk of its own; null where this process may not mount one. */
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

test('on a full disk nothing false is acknowledged, reads go on, and room makes everything go on', async (t) => {
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
  for (const purse of purses) assert.deepEqual(await purse.deposit({ amount: 10, id: 'calm' }), { gold: 10 })

  const filler = join(folder, 'filler')
  fillDisk(filler)
  // Each may find a little room in a page that is there already; then none of them does.
  const acknowledged = names.map(() => 10)
  const asked = names.map(() => 0)
  const answers: Promise<unknown>[] = []
  const ask = (i: number): void => {
    const amount = 1
    asked[i]! += amount
    const answer = purses[i]!.deposit({ amount, id: `full-${asked[i]}` }).then(({ gold }) => {
      acknowledged[i] = Math.max(acknowledged[i]!, gold)
    })
    answers.push(answer)
  }
  const isFull = (): boolean => log.includes('no space is left')
  for (let n = 0; n < 200 && !isFull(); n++) {
    for (const i of [0, 1]) ask(i)
    await new Promise((resolve) => setTimeout(resolve, 10))
    fillDisk(filler)
  }
  assert.ok(isFull(), 'the disk was never full')
  // Whose commit failed waits; the others are answered, also new ones.
  assert.deepEqual(await purses[3]!.balance(), { gold: 10 })
  const failures = (): number => log.split('the activation ends').length - 1
  await waitUntil(() => failures() >= 12)
  assert.ok(failures() < 100, `${failures()} activations ended`)

  rmSync(filler)
  await Promise.all(answers)
  for (const i of [0, 1]) assert.deepEqual(await purses[i]!.balance(), { gold: 10 + asked[i]! })
  assert.deepEqual(
    acknowledged.slice(0, 2),
    asked.slice(0, 2).map((sum) => 10 + sum),
  )
  assert.deepEqual(await purses[2]!.deposit({ amount: 5, id: 'after' }), { gold: 15 })
  assert.deepEqual(
    games.map(({ state }) => state),
    names.map(() => 'open'),
  )
})
