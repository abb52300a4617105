// The slot store on real files: what is acknowledged is there after a reopen and after SIGKILL, what failed left no
// trace, and a directory that cannot be used is refused with words. This file is also the child that is killed.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fdatasync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'

import { systemClock } from '../../core/node/clock.ts'
import { jsonLog } from '../../core/node/log.ts'
import { SlotStore, slotOf, StoreError, type SlotStoreOptions } from '../../core/node/store.ts'
import { MemoryLog } from '../../core/run/memory.ts'
import { shardName, type ShardId, type WriteSet } from '../../core/run/ports.ts'
import { TIMES } from '../../core/wire/limits.ts'

const SHARDS = 8
const ROUNDS = 10

if (process.argv[2] === 'commit') await commitForEver(process.argv[3]!)

const ada: ShardId = { contract: 'player', key: 'ada' }
const bob: ShardId = { contract: 'player', key: 'bob/with a slash' }
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString()

function set(shard: ShardId, activation: number, part: Partial<WriteSet>): WriteSet {
  return { shard, activation, kv: null, timers: null, channel: null, snapshot: null, wakeMs: null, ...part }
}
function put(shard: ShardId, activation: number, name: string, value: string): WriteSet {
  return set(shard, activation, { kv: new Map([[name, bytes(value)]]) })
}
/** What node:sqlite refuses to bind. */
function bad(shard: ShardId, activation: number): WriteSet {
  const kv = new Map<string, Uint8Array>([
    ['half', bytes('written')],
    ['bad', {} as unknown as Uint8Array],
  ])
  return set(shard, activation, { kv })
}

interface Bench {
  readonly dir: string
  readonly log: MemoryLog
  readonly wakes: [string, number | null][]
  open(options?: Partial<SlotStoreOptions>): Promise<SlotStore>
}

/** A directory and the stores in it, gone when the test ends. */
function behaviour(name: string, run: (bench: Bench) => Promise<void>): void {
  test(name, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'firefly-slot-'))
    const stores: SlotStore[] = []
    const log = new MemoryLog()
    const wakes: [string, number | null][] = []
    const onWake = (shard: ShardId, dueMs: number | null): void => void wakes.push([shardName(shard), dueMs])
    const open = async (options: Partial<SlotStoreOptions> = {}): Promise<SlotStore> => {
      const store = await SlotStore.open({ dir, slots: 4, clock: systemClock, log, onWake, ...options })
      stores.push(store)
      return store
    }
    try {
      await run({ dir, log, wakes, open })
    } finally {
      for (const store of stores) await store.close()
      rmSync(dir, { recursive: true })
    }
  })
}

function refusal(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof StoreError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, words)
    return true
  }
}

behaviour('what was committed is there for the next open, and after the store was opened anew', async ({ open }) => {
  let store = await open()
  const first = await store.open(ada)
  assert.deepEqual({ kv: [...first.kv], timers: first.timers, snapshot: first.snapshot }, { kv: [], timers: [], snapshot: null })
  const timer = { name: 'bell', dueMs: 1_800_000_000_000.5, data: new Uint8Array(0) }
  const outcome = await store.commit(
    set(ada, first.activation, {
      kv: new Map([
        ['gold', bytes('7')],
        ['none', new Uint8Array(0)],
      ]),
      timers: new Map([['bell', timer]]),
      snapshot: bytes('picture'),
      wakeMs: timer.dueMs,
    }),
  )
  assert.deepEqual(outcome, { kind: 'committed' })
  for (let round = 0; round < 2; round++) {
    const next = await store.open(ada)
    assert.equal(text(next.kv.get('gold')), '7')
    assert.deepEqual(next.kv.get('none'), new Uint8Array(0))
    assert.deepEqual(next.timers, [timer])
    assert.equal(text(next.snapshot!), 'picture')
    await store.close()
    store = await open()
  }
  assert.deepEqual([...(await store.open(bob)).kv], [])
})

behaviour('a null deletes a value and a timer, and leaves the others', async ({ open }) => {
  const store = await open()
  const { activation } = await store.open(ada)
  const timer = (name: string) => ({ name, dueMs: 5, data: bytes(name) })
  await store.commit(put(ada, activation, 'a', '1'))
  await store.commit(put(ada, activation, 'b', '2'))
  const both = new Map([['x', timer('x')] as const, ['y', timer('y')] as const])
  await store.commit(set(ada, activation, { timers: both, wakeMs: 5 }))
  const gone = set(ada, activation, { kv: new Map([['a', null]]), timers: new Map([['x', null]]), wakeMs: 5 })
  await store.commit(gone)
  const { kv, timers } = await store.open(ada)
  assert.deepEqual([...kv.keys()], ['b'])
  assert.deepEqual(timers, [timer('y')])
})

behaviour('write sets that are ready together cost one sync, and a slow sync gathers the next ones', async ({ open }) => {
  const syncs: (() => void)[] = []
  let hold = false
  const store = await open({
    slots: 1,
    fdatasync: (fd, done) => {
      const run = (): void => fdatasync(fd, done)
      syncs.push(run)
      if (!hold) run()
    },
  })
  const { activation } = await store.open(ada)
  const before = syncs.length
  await Promise.all(Array.from({ length: 100 }, (_, n) => store.commit(put(ada, activation, `n${n}`, 'x'))))
  assert.equal(syncs.length - before, 1)

  hold = true
  let settled = 0
  const commit = async (name: string): Promise<void> => {
    assert.equal((await store.commit(put(ada, activation, name, 'y'))).kind, 'committed')
    settled++
  }
  const first = commit('first')
  await until(() => syncs.length - before === 2)
  const later = [commit('second'), commit('third')]
  const reopened = store.open(ada)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(settled, 0)
  assert.equal(syncs.length - before, 2)
  hold = false
  syncs.at(-1)!()
  await Promise.all([first, ...later])
  assert.equal(syncs.length - before, 3)
  assert(reopened instanceof Promise)
  const { kv } = await reopened
  assert.deepEqual([text(kv.get('first')), text(kv.get('third'))], ['y', 'y'])
})

behaviour('open sees all earlier commits without anybody waiting for them', async ({ open }) => {
  const store = await open()
  const { activation } = await store.open(ada)
  for (let n = 0; n < 3_000; n++) void store.commit(put(ada, activation, 'n', String(n)))
  assert.equal(text((await store.open(ada)).kv.get('n')), '2999')
})

behaviour('a channel is its mark and its replies, and null when never heard of', async ({ open }) => {
  const store = await open()
  const { activation } = await store.open(ada)
  assert.equal(await store.channel(ada, 'c:1'), null)
  const nowMs = Date.now()
  void store.commit(set(ada, activation, { channel: { id: 'c:1', mark: 4, replies: bytes('four'), nowMs } }))
  void store.commit(set(ada, activation, { channel: { id: 'c:1', mark: 5, replies: bytes('five'), nowMs } }))
  assert.deepEqual(await store.channel(ada, 'c:1'), { mark: 5, replies: bytes('five') })
  assert.equal(await store.channel(bob, 'c:1'), null)
})

behaviour('marks that nobody came back for are pruned, the others stay', async ({ open }) => {
  let monoMs = 0
  const store = await open({ slots: 1, clock: { ...systemClock, mono: () => monoMs } })
  const { activation } = await store.open(ada)
  const seen = (id: string, nowMs: number): WriteSet =>
    set(ada, activation, { channel: { id, mark: 1, replies: bytes('r'), nowMs } })
  const now = Date.now()
  const old = Array.from({ length: 700 }, (_, n) => store.commit(seen(`old${n}`, now - TIMES.keepMarksMs - 1_000)))
  await Promise.all([...old, store.commit(seen('young', now - TIMES.keepMarksMs + 60_000))])
  for (let page = 0; page < 2; page++) {
    monoMs += 10_000
    await store.commit(put(ada, activation, 'page', String(page)))
  }
  assert.equal(await store.channel(ada, 'old0'), null)
  assert.equal(await store.channel(ada, 'old699'), null)
  assert.equal((await store.channel(ada, 'young'))?.mark, 1)
})

behaviour('onWake hears of every change of timers, and at the start of the earliest timer of each shard', async (bench) => {
  const store = await bench.open()
  const { activation } = await store.open(ada)
  const other = await store.open(bob)
  const timer = (name: string, dueMs: number) => [name, { name, dueMs, data: bytes('') }] as const
  await store.commit(set(ada, activation, { timers: new Map([timer('late', 900), timer('soon', 300)]), wakeMs: 300 }))
  await store.commit(put(ada, activation, 'no', 'timers'))
  await store.commit(set(bob, other.activation, { timers: new Map([timer('one', 500)]), wakeMs: 500 }))
  await store.commit(set(ada, activation, { timers: new Map([['soon', null]]), wakeMs: 900 }))
  await store.commit(set(bob, other.activation, { timers: new Map([['one', null]]), wakeMs: null }))
  assert.deepEqual(bench.wakes, [
    [shardName(ada), 300],
    [shardName(bob), 500],
    [shardName(ada), 900],
    [shardName(bob), null],
  ])
  await store.commit(set(bob, other.activation, { timers: new Map([timer('two', 700), timer('three', 600)]), wakeMs: 600 }))
  await store.close()
  bench.wakes.length = 0
  await bench.open()
  assert.deepEqual(bench.wakes.toSorted(), [
    [shardName(ada), 900],
    [shardName(bob), 600],
  ])
})

behaviour('activation numbers only rise, over many blocks and over reopens, with few syncs', async ({ open }) => {
  let last = 0
  let syncs = 0
  for (let life = 0; life < 3; life++) {
    const store = await open({ fdatasync: (fd, done) => void (syncs++, fdatasync(fd, done)) })
    for (let n = 0; n < 1_500; n++) {
      const { activation } = await store.open(ada)
      assert(activation > last, `${activation} after ${last}`)
      last = activation
    }
    await store.close()
  }
  assert(syncs <= 9, `${syncs} syncs`)
})

behaviour('a write set that fails leaves no trace, and the others of its batch are committed', async ({ open }) => {
  const store = await open({ slots: 1 })
  const a = (await store.open(ada)).activation
  const b = (await store.open(bob)).activation
  const outcomes = await Promise.all([
    store.commit(put(ada, a, 'before', '1')),
    store.commit(bad(ada, a)),
    store.commit(put(bob, b, 'gold', '2')),
    // Computed from what was not stored, so it must not be stored either.
    store.commit(put(ada, a, 'after', '3')),
  ])
  assert.deepEqual(outcomes.map(({ kind }) => kind), ['committed', 'failed', 'committed', 'failed'])
  assert.equal((await store.commit(put(ada, a, 'later', '4'))).kind, 'failed')
  const next = await store.open(ada)
  assert.deepEqual([...next.kv.keys()], ['before'])
  assert.equal((await store.commit(put(ada, next.activation, 'new', '5'))).kind, 'committed')
  assert.equal(text((await store.open(bob)).kv.get('gold')), '2')
})

behaviour('a sync that fails makes its batch unknown and the waiting ones fail; the slot is opened anew', async (bench) => {
  let broken = false
  const eio = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO', syscall: 'fdatasync' })
  const store = await bench.open({
    slots: 1,
    fdatasync: (fd, done) => (broken ? void setImmediate(done, eio) : fdatasync(fd, done)),
  })
  const { activation } = await store.open(ada)
  broken = true
  const lost = store.commit(put(ada, activation, 'lost', '1'))
  await new Promise((resolve) => setImmediate(resolve))
  const waiting = store.commit(put(bob, activation, 'waiting', '2'))
  const unknown = await lost
  assert.equal(unknown.kind, 'unknown')
  refusal('DISK', /the disk failed at .*slot-0-of-1\.sqlite .*kernel's log/)(unknown.cause)
  assert.equal((await waiting).kind, 'failed')
  broken = false
  assert.equal((await store.commit(put(ada, activation, 'stale', '3'))).kind, 'failed')
  const next = await store.open(ada)
  assert(next.activation > activation)
  assert(!next.kv.has('stale'))
  assert.equal((await store.commit(put(ada, next.activation, 'new', '4'))).kind, 'committed')
  assert(bench.log.lines.some(({ level, message }) => level === 'error' && /opened anew/.test(message)))
})

behaviour('checkpoints keep the WAL short and lose nothing', async ({ dir, open }) => {
  const store = await open({ slots: 1 })
  const { activation } = await store.open(ada)
  const value = 'v'.repeat(100_000)
  for (let n = 0; n < 200; n++) await store.commit(put(ada, activation, `n${n % 20}`, `${n}${value}`))
  const wal = readFileSync(join(dir, 'slot-0-of-1.sqlite-wal'))
  assert(wal.length < 8_000_000, `${wal.length} bytes`)
  await store.close()
  assert.deepEqual(readdirSync(dir).toSorted(), ['slot-0-of-1.sqlite', 'store.lock', 'store.pid'])
  const { kv } = await (await open({ slots: 1 })).open(ada)
  for (let n = 180; n < 200; n++) assert.equal(text(kv.get(`n${n % 20}`)), `${n}${value}`)
})

behaviour('a second opener of the directory is refused and told who has it', async ({ open }) => {
  const store = await open()
  await assert.rejects(open(), refusal('LOCKED', new RegExp(`in use by process ${process.pid}: stop that one`)))
  await store.close()
  await open()
})

behaviour('a slot file of a newer format is refused', async ({ dir, open }) => {
  const store = await open({ slots: 1 })
  await store.open(ada)
  await store.close()
  const path = join(dir, 'slot-0-of-1.sqlite')
  const db = new DatabaseSync(path)
  db.exec('PRAGMA user_version = 2')
  db.close()
  await assert.rejects(open({ slots: 1 }), refusal('NEWER', /has format 2, this Firefly reads up to 1: start the newer/))
})

behaviour('a damaged slot file, and a file that is not ours, are refused', async ({ dir, open }) => {
  const path = join(dir, 'slot-0-of-1.sqlite')
  writeFileSync(path, Buffer.alloc(8_192, 65))
  await assert.rejects(open({ slots: 1 }), refusal('CORRUPT', /slot-0-of-1\.sqlite is damaged .*put a backup/))
  rmSync(path)
  const db = new DatabaseSync(path)
  db.exec('CREATE TABLE cookbook (recipe)')
  db.close()
  await assert.rejects(open({ slots: 1 }), refusal('FOREIGN', /is not a slot file of Firefly/))
})

behaviour('another number of slots is refused: the shards would not be found again', async ({ open }) => {
  const store = await open({ slots: 4 })
  await store.open(ada)
  await store.close()
  await assert.rejects(open({ slots: 5 }), refusal('SLOTS', /was made with 4 slots, not 5: start with 4/))
  await assert.rejects(open({ slots: 0 }), refusal('SLOTS', /0 is not a number of slots/))
})

behaviour('a path that is no directory is refused', async ({ dir, open }) => {
  const path = join(dir, 'file')
  writeFileSync(path, '')
  await assert.rejects(open({ dir: path }), refusal('ACCESS', /file cannot be used .*check path, owner/))
  await assert.rejects(open({ dir: join(path, 'below') }), refusal('ACCESS', /below cannot be used/))
})

behaviour('a closed store refuses, and has committed what came before', async ({ open }) => {
  const store = await open()
  const { activation } = await store.open(ada)
  const last = store.commit(put(ada, activation, 'last', 'word'))
  await store.close()
  assert.equal((await last).kind, 'committed')
  assert.throws(() => store.open(ada), refusal('CLOSED', /is closed/))
  assert.equal((await store.commit(put(ada, activation, 'too', 'late'))).kind, 'failed')
})

behaviour(`after SIGKILL at any moment every acknowledged write is there (${ROUNDS} times)`, async ({ dir, open }) => {
  const acknowledged = new Map<string, Set<string>>()
  const highest = new Map<string, number>()
  let lines = 0
  for (let round = 0; round < ROUNDS; round++) {
    const child = spawn(process.execPath, [import.meta.filename, 'commit', dir], { stdio: ['ignore', 'pipe', 'inherit'] })
    const killAfter = 1 + Math.floor(Math.random() * 3_000)
    const ended = once(child, 'exit')
    let seen = 0
    let torn = ''
    child.stdout.on('data', (chunk: Buffer) => (torn = (torn + chunk.toString('latin1')).slice(-80)))
    for await (const line of createInterface({ input: child.stdout })) {
      // The last line may be cut short by the kill.
      const [, shard, name, number] = /^ok (\S+) (\S+) (\d+);$/.exec(line) ?? []
      if (shard === undefined) continue
      if (!acknowledged.has(shard)) acknowledged.set(shard, new Set())
      acknowledged.get(shard)!.add(name!)
      highest.set(shard, Math.max(highest.get(shard) ?? 0, Number(number)))
      lines++
      if (++seen === killAfter) child.kill('SIGKILL')
    }
    const [, signal] = await ended
    assert.equal(signal, 'SIGKILL', torn)

    const store = await open()
    for (const [shard, names] of acknowledged) {
      const { activation, kv } = await store.open({ contract: 'test', key: shard })
      assert(activation > highest.get(shard)!, `${activation} was given to ${shard} before`)
      highest.set(shard, activation)
      for (const name of names) assert.equal(text(kv.get(name)), name)
    }
    await store.close()
  }
  assert(lines > ROUNDS)
})

test('names spread evenly over the slots, always to the same one', () => {
  assert.deepEqual([slotOf('player/ada', 32), slotOf('arena/duel-7', 32), slotOf('', 32)], [11, 9, 11])
  for (const name of [(n: number) => `player/${n}`, (n: number) => `arena/room-${n * 64}`]) {
    const counts = new Array<number>(32).fill(0)
    for (let n = 0; n < 32_000; n++) counts[slotOf(name(n), 32)]!++
    assert(Math.min(...counts) > 850 && Math.max(...counts) < 1_150, counts.join(' '))
  }
})

test('a log line is JSON with the message in front, its values are bounded', () => {
  const dir = mkdtempSync(join(tmpdir(), 'firefly-log-'))
  const fd = openSync(join(dir, 'log'), 'w')
  const log = jsonLog('warn', fd)
  log.info('not said')
  log.warn('careful', { level: 'mine', long: 'x'.repeat(5_000), deep: { a: 1 }, cause: new Error('why'), n: 7 })
  closeSync(fd)
  const [line, ...rest] = readFileSync(join(dir, 'log'), 'utf8').trimEnd().split('\n')
  rmSync(dir, { recursive: true })
  assert.deepEqual(rest, [])
  const fields = JSON.parse(line!) as Record<string, unknown>
  assert.deepEqual(Object.keys(fields), ['level', 'time', 'pid', 'message', 'level_', 'long', 'deep', 'cause', 'n'])
  assert.deepEqual([fields['level'], fields['message'], fields['deep'], fields['n']], ['warn', 'careful', 'object', 7])
  assert.equal(String(fields['long']).length, 2_001)
  assert.match(String(fields['cause']), /^Error: why\n/)
})

test('a timer beyond the range of setTimeout does not fire at once, and can be cancelled', async () => {
  let fired = false
  const timer = systemClock.after(3_000_000_000, () => (fired = true))
  await new Promise((resolve) => systemClock.after(5, () => resolve(null)) && setTimeout(resolve, 20))
  assert(!fired)
  timer.cancel()
})

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

/** The child: several shards commit one new name after the other and print each that was acknowledged. */
async function commitForEver(dir: string): Promise<void> {
  const log = jsonLog('warn')
  const store = await SlotStore.open({ dir, slots: 4, clock: systemClock, log, onWake: () => {} })
  const run = async (key: string): Promise<never> => {
    const shard = { contract: 'test', key }
    const { activation } = await store.open(shard)
    for (let n = 0; ; n++) {
      const name = `${activation}.${n}`
      const kv = new Map([[name, new Uint8Array(Buffer.from(name))]])
      const write = { shard, activation, kv, timers: null, channel: null, snapshot: null, wakeMs: null }
      const outcome = await store.commit(write)
      if (outcome.kind !== 'committed') throw new Error('a commit failed', { cause: outcome.cause })
      process.stdout.write(`ok ${key} ${name} ${activation};\n`)
    }
  }
  await Promise.all(Array.from({ length: SHARDS }, (_, n) => run(`s${n}`)))
}
