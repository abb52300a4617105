// Which slot a shard belongs to, and how slots are named. Invariant: a shard is always in the same slot, so neither the
// hash nor the number of slots of a data directory may change.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import { StoreError } from './storeerror.ts'

const SLOT_FILE = /^slot-(\d+)-of-(\d+)\.sqlite$/

/** FNV-1a over UTF-16 units, then murmur3's finaliser, because FNV alone leaves the low bits of short names uneven. */
export function slotOf(name: string, slots: number): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % slots
}

/** `07-of-32`: includes the number of slots, on which the hash depends. */
export function slotName(index: number, slots: number): string {
  return `${String(index).padStart(String(slots - 1).length, '0')}-of-${slots}`
}

/** Returns the indexes of the slots that have a file. @throws StoreError for a file of another number of slots */
export function existingSlots(dir: string, slots: number): number[] {
  const indexes: number[] = []
  for (const name of readdirSync(dir)) {
    const [, index, count] = SLOT_FILE.exec(name) ?? []
    if (index === undefined) continue
    if (Number(count) !== slots || Number(index) >= slots)
      throw new StoreError(
        'SLOTS',
        `${join(dir, name)} was created with ${count} slots, not ${slots}: start with ${count}`,
      )
    indexes.push(Number(index))
  }
  return indexes.sort((a, b) => a - b)
}
