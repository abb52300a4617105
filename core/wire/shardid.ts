// The address of a shard: contract and key. Invariant: a contract name contains no slash, so `contract/key` is unambiguous.

import { utf8Encoder } from './bytes.ts'

/** The address of a shard. */
export interface ShardId {
  readonly contract: string
  readonly key: string
}
/** Returns `contract/key`. */
export function shardName(id: ShardId): string {
  return `${id.contract}/${id.key}`
}

/** The inverse of `shardName`. */
export function parseShardName(name: string): ShardId {
  const slash = name.indexOf('/')
  return { contract: name.slice(0, slash), key: name.slice(slash + 1) }
}

/** 1..maxBytes bytes of text without control characters, not ending in a space, which MySQL ignores. */
export function isKey(key: string, maxBytes: number): boolean {
  if (key.length === 0 || key.endsWith(' ') || key.length > maxBytes || utf8Encoder.encode(key).length > maxBytes)
    return false
  for (let i = 0; i < key.length; i++) if (key.charCodeAt(i) < 0x20 || key.charCodeAt(i) === 0x7f) return false
  return true
}
