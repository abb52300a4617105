// The slot files of a server that has ended, as they are on disk, read by SQLite alone.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { ENTRIES, OF_PLAYER, PURSES, type LedgerEntry, type Purse, type Source } from './database.ts'

export class SlotSource implements Source, Disposable {
  readonly name = 'the slot files'
  readonly #files: readonly DatabaseSync[]

  constructor(dir: string) {
    const names = readdirSync(dir).filter((name) => /^slot-.*\.sqlite$/.test(name))
    this.#files = names.map((name) => new DatabaseSync(join(dir, name), { readOnly: true }))
  }

  purses(): Promise<readonly Purse[]> {
    return Promise.resolve(this.#all<Purse>(`${PURSES}r_purse`))
  }

  ledger(player: string): Promise<readonly LedgerEntry[]> {
    return Promise.resolve(this.#all<LedgerEntry>(`${ENTRIES}r_ledger${OF_PLAYER}`, player))
  }

  /** Durable casts without an answer. */
  casts(): number {
    return this.#all('SELECT shard FROM casts').length
  }

  [Symbol.dispose](): void {
    for (const file of this.#files) file.close()
  }

  #all<Row>(sql: string, ...params: string[]): Row[] {
    return this.#files.flatMap((file) => file.prepare(sql).all(...params)) as Row[]
  }
}
