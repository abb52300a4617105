// Faults of the slot store: acknowledged writes survive SIGKILL, failed ones change nothing, and an unusable directory is
// rejected with a clear message. This file is also the program of the child that is killed.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fdatasync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'

import { systemClock } from '../../core/node/clock.ts'
import { jsonLog } from '../../core/node/log.ts'
import { SlotFile } from '../../core/node/slotfile.ts'
import { slotOf } from '../../core/node/slotname.ts'
import { SlotStore } from '../../core/node/slotstore.ts'
import { shardName, type ShardId } from '../../core/wire/shardid.ts'
import type { WriteSet } from '../../core/ports/store.ts'
import { TableSet } from '../../core/sql/layout.ts'
import { ada, slotTest, bob, bytes, kvWriteSet, isStoreError, writeSet, text } from './slotfixture.ts'
import { assertField } from '../support/assertfield.ts'

const SHARDS = 8
const ROUNDS = 10

if (process.argv[2] === 'commit') await commitUntilKilled(process.argv[3]!)

slotTest('a failed write set changes nothing, and the others of its batch are committed', async ({ open }) => {
  const store = await open({ slots: 1 })
  const a = (await store.open(ada)).activation
  const b = (await store.open(bob)).activation
  const outcomes = await Promise.all([
    store.commit(kvWriteSet(ada, a, 'before', '1')),
    store.commit(unbindableWriteSet(ada, a)),
    store.commit(kvWriteSet(bob, b, 'gold', '2')),
    // Computed from state that was not stored, so it must fail too.
    store.commit(kvWriteSet(ada, a, 'after', '3')),
  ])
  assertField(outcomes, 'kind', ['committed', 'failed', 'committed', 'failed'])
  assert.equal((await store.commit(kvWriteSet(ada, a, 'later', '4'))).kind, 'failed')
  const next = await store.open(ada)
  assert.deepEqual([...next.kv.keys()], ['before'])
  assert.equal((await store.commit(kvWriteSet(ada, next.activation, 'new', '5'))).kind, 'committed')
  assert.equal(text((await store.open(bob)).kv.get('gold')), '2')
})

slotTest(
  'after a failed sync its batch is unknown, queued write sets fail, and the slot is reopened',
  async (fixture) => {
    let isBroken = false
    const eio = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO', syscall: 'fdatasync' })
    const { store, activation } = await fixture.openShard({
      slots: 1,
      fdatasync: (fd, done) => (isBroken ? void setImmediate(done, eio) : fdatasync(fd, done)),
    })
    isBroken = true
    const lost = store.commit(kvWriteSet(ada, activation, 'lost', '1'))
    await new Promise((resolve) => setImmediate(resolve))
    const waiting = store.commit(kvWriteSet(bob, activation, 'waiting', '2'))
    const unknown = await lost
    assert.equal(unknown.kind, 'unknown')
    isStoreError('DISK', /the disk failed at .*slot-0-of-1\.sqlite .*kernel log/)(unknown.cause)
    assert.equal((await waiting).kind, 'failed')
    isBroken = false
    assert.equal((await store.commit(kvWriteSet(ada, activation, 'stale', '3'))).kind, 'failed')
    const next = await store.open(ada)
    assert(next.activation > activation)
    assert(!next.kv.has('stale'))
    assert.equal((await store.commit(kvWriteSet(ada, next.activation, 'new', '4'))).kind, 'committed')
    assert(fixture.log.lines.some(({ level, message }) => level === 'error' && /reopened/.test(message)))
  },
)

slotTest('a checkpoint with a failed sync loses no row, because the WAL is copied again', async (fixture) => {
  let walFd: number | null = null
  let hasFailed = false
  const store = await fixture.open({
    slots: 1,
    fdatasync: (fd, done) => {
      walFd ??= fd
      // Any other descriptor is that of the database file.
      if (fd === walFd || hasFailed) return fdatasync(fd, done)
      hasFailed = true
      setImmediate(done, Object.assign(new Error('EIO'), { code: 'EIO' }))
    },
  })
  let { activation } = await store.open(ada)
  // Every byte differs from the previous value, because SQLite writes only changed pages.
  const value = (n: number): string => String(n).repeat(50_000)
  let failures = 0
  for (let n = 0; n < 60; n++) {
    const outcome = await store.commit(kvWriteSet(ada, activation, `n${n % 10}`, value(n)))
    if (outcome.kind === 'committed') continue
    assert.equal(outcome.kind, 'failed')
    failures++
    activation = (await store.open(ada)).activation
    n--
  }
  assert.equal(failures, 1)
  assert(fixture.log.lines.some(({ message }) => /reopened/.test(message)))
  await store.closeStore()
  assert.deepEqual(readdirSync(fixture.dir).toSorted(), ['slot-0-of-1.sqlite', 'store.lock', 'store.pid'])
  const { kv } = await (await fixture.open({ slots: 1 })).open(ada)
  for (let n = 50; n < 60; n++) assert.equal(text(kv.get(`n${n % 10}`)), value(n))
})

slotTest('a slot file closed after such a checkpoint keeps its WAL', async ({ dir }) => {
  const path = join(dir, 'alone.sqlite')
  const remainingFiles: string[][] = []
  for (const error of [new Error('EIO'), null]) {
    const file = new SlotFile(path, { tables: new TableSet([]), outbox: false, newId: systemClock.id })
    file.begin()
    file.reserveNumbers(7)
    file.commit()
    await new Promise<void>((resolve) =>
      file.checkpoint(
        (_fd, done) => done(error),
        () => resolve(),
      ),
    )
    file.closeFile()
    remainingFiles.push(readdirSync(dir).toSorted())
  }
  assert.deepEqual(remainingFiles, [['alone.sqlite', 'alone.sqlite-wal'], ['alone.sqlite']])
})

slotTest('restores a WAL from its backup name', async ({ dir, open, openShard }) => {
  const path = join(dir, 'slot-0-of-1.sqlite')
  const { store, activation } = await openShard({ slots: 1 })
  await store.commit(kvWriteSet(ada, activation, 'gold', '7'))
  // As if the process was killed between SQLite's close and the renaming: some rows are only in the backup of the WAL.
  // Reading the file here releases SQLite's lock on it, which this test does not need.
  const [file, wal] = [readFileSync(path), readFileSync(`${path}-wal`)]
  await store.closeStore()
  writeFileSync(path, file)
  writeFileSync(`${path}-wal-kept`, wal)
  const again = await open({ slots: 1 })
  assert.equal(text((await again.open(ada)).kv.get('gold')), '7')
})

slotTest('rejects a second opening of the directory, naming the process that has it open', async ({ open }) => {
  const store = await open()
  await assert.rejects(open(), isStoreError('LOCKED', new RegExp(`in use by process ${process.pid}: stop that one`)))
  await store.closeStore()
  await open()
})

slotTest('rejects a slot file of a newer format', async ({ dir, open }) => {
  const store = await open({ slots: 1 })
  await store.open(ada)
  await store.closeStore()
  const path = join(dir, 'slot-0-of-1.sqlite')
  const db = new DatabaseSync(path)
  db.exec('PRAGMA user_version = 99')
  db.close()
  await assert.rejects(
    open({ slots: 1 }),
    isStoreError('NEWER', /has format 99, this Firefly reads up to \d+: start the newer/),
  )
})

slotTest('rejects a damaged slot file, and a file that is not a slot file', async ({ dir, open }) => {
  const path = join(dir, 'slot-0-of-1.sqlite')
  writeFileSync(path, Buffer.alloc(8_192, 65))
  await assert.rejects(
    open({ slots: 1 }),
    isStoreError('CORRUPT', /slot-0-of-1\.sqlite is damaged .*replace it by a backup/),
  )
  rmSync(path)
  const db = new DatabaseSync(path)
  db.exec('CREATE TABLE cookbook (recipe)')
  db.close()
  await assert.rejects(open({ slots: 1 }), isStoreError('FOREIGN', /is not a slot file of Firefly/))
})

slotTest('an unreadable slot file makes only its own shards unavailable', async ({ dir, log, open }) => {
  let store = await open({ slots: 2 })
  const [a, b] = [ada, bob].map((shard) => slotOf(shardName(shard), 2)) as [number, number]
  assert.notEqual(a, b)
  for (const shard of [ada, bob]) {
    const { activation } = await store.open(shard)
    await store.commit(kvWriteSet(shard, activation, 'gold', '7'))
  }
  await store.closeStore()
  const path = join(dir, `slot-${a}-of-2.sqlite`)
  const good = readFileSync(path)
  for (const [bad, code] of [
    [Buffer.alloc(8_192, 65), 'CORRUPT'],
    [good.subarray(0, 4_096), 'CORRUPT'],
  ] as const) {
    writeFileSync(path, bad)
    store = await open({ slots: 2 })
    const line = log.lines.at(-1)
    assert.deepEqual([line?.level, line?.fields['code']], ['error', code])
    assert.match(String(line?.fields['cause']), /slot-\d-of-2\.sqlite is damaged/)
    await assert.rejects(async () => store.open(ada), isStoreError(code, /is damaged/))
    const { activation, kv } = await store.open(bob)
    assert.equal(text(kv.get('gold')), '7')
    assert.equal((await store.commit(kvWriteSet(bob, activation, 'gold', '7'))).kind, 'committed')
    await store.closeStore()
  }
  writeFileSync(path, good)
  store = await open({ slots: 2 })
  assert.equal(text((await store.open(ada)).kv.get('gold')), '7')
})

slotTest(
  'a turn above the bound of the commit queue fails with its size, and no other turn fails',
  async ({ openShard }) => {
    const { store, activation } = await openShard({ slots: 1 })
    const large = new Uint8Array(70_000_000)
    const outcome = await store.commit(writeSet(ada, activation, { kv: new Map([['gold', large]]) }))
    assert.equal(outcome.kind, 'failed')
    isStoreError(
      'TOO_LARGE',
      /a turn writes 70\d{6} bytes, which exceeds 67108864: split it/,
    )(outcome.kind === 'failed' && outcome.cause)
    const other = await store.open(bob)
    assert.equal((await store.commit(kvWriteSet(bob, other.activation, 'gold', '7'))).kind, 'committed')
  },
)

slotTest('rejects another number of slots than the directory was created with', async ({ open }) => {
  const store = await open({ slots: 4 })
  await store.open(ada)
  await store.closeStore()
  await assert.rejects(open({ slots: 5 }), isStoreError('SLOTS', /was created with 4 slots, not 5: start with 4/))
  await assert.rejects(open({ slots: 0 }), isStoreError('SLOTS', /0 slots are not in 1..4096/))
})

slotTest('rejects a path that is not a directory', async ({ dir, open }) => {
  const path = join(dir, 'file')
  writeFileSync(path, '')
  await assert.rejects(open({ dir: path }), isStoreError('ACCESS', /file cannot be used .*check path, owner/))
  await assert.rejects(open({ dir: join(path, 'below') }), isStoreError('ACCESS', /below cannot be used/))
})

slotTest(`every acknowledged write survives a SIGKILL at any moment (${ROUNDS} times)`, async ({ dir, open }) => {
  const acknowledged = new Map<string, Set<string>>()
  const highest = new Map<string, number>()
  let lines = 0
  for (let round = 0; round < ROUNDS; round++) {
    const child = spawn(process.execPath, [import.meta.filename, 'commit', dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const killAfter = 1 + Math.floor(Math.random() * 3_000)
    const ended = once(child, 'exit')
    let seen = 0
    let outputTail = ''
    child.stdout.on('data', (chunk: Buffer) => (outputTail = (outputTail + chunk.toString('latin1')).slice(-80)))
    for await (const line of createInterface({ input: child.stdout })) {
      // The kill may truncate the last line.
      const [, shard, name, number] = /^ok (\S+) (\S+) (\d+);$/.exec(line) ?? []
      if (shard === undefined) continue
      if (!acknowledged.has(shard)) acknowledged.set(shard, new Set())
      acknowledged.get(shard)!.add(name!)
      highest.set(shard, Math.max(highest.get(shard) ?? 0, Number(number)))
      lines++
      if (++seen === killAfter) child.kill('SIGKILL')
    }
    const [, signal] = await ended
    assert.equal(signal, 'SIGKILL', outputTail)

    const store = await open()
    for (const [shard, names] of acknowledged) {
      const { activation, kv } = await store.open({ contract: 'test', key: shard })
      assert(activation > highest.get(shard)!, `${shard} had activation ${activation} before`)
      highest.set(shard, activation)
      for (const name of names) assert.equal(text(kv.get(name)), name)
    }
    await store.closeStore()
  }
  assert(lines > ROUNDS)
})

/** Contains a value that node:sqlite cannot bind. */
function unbindableWriteSet(shard: ShardId, activation: number): WriteSet {
  const kv = new Map<string, Uint8Array>([
    ['half', bytes('written')],
    ['bad', {} as Uint8Array],
  ])
  return writeSet(shard, activation, { kv })
}

/** The child: several shards commit new names continuously and print each acknowledged one. */
async function commitUntilKilled(dir: string): Promise<void> {
  const log = jsonLog('warn')
  const store = await SlotStore.open({ dir, slots: 4, clock: systemClock, log, onWake: () => {} })
  const run = async (key: string): Promise<never> => {
    const shard = { contract: 'test', key }
    const { activation } = await store.open(shard)
    for (let n = 0; ; n++) {
      const name = `${activation}.${n}`
      const kv = new Map([[name, new Uint8Array(Buffer.from(name))]])
      const outcome = await store.commit(writeSet(shard, activation, { kv }))
      if (outcome.kind !== 'committed') throw new Error('a commit failed', { cause: outcome.cause })
      process.stdout.write(`ok ${key} ${name} ${activation};\n`)
    }
  }
  await Promise.all(Array.from({ length: SHARDS }, (_, n) => run(`s${n}`)))
}
