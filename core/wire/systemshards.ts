// Names, keys and command numbers of the built-in shards: the part of their contracts (`systemcontract.ts`) that a gateway
// needs. Apart from those, because the contracts bring parsers and codec, which would be most of an edge bundle.

export const SESSION_SHARD = '@session'
export const AUTH_SHARD = '@auth'

/** Commands of the session shard that gateways send. */
export const SESSION_REQUEST = { resume: 1, login: 2, attach: 3, confirm: 7 } as const
export const AUTH_REQUEST = { verify: 1 } as const

/** The key of the session shard of a uid. */
export function uidShardKey(uid: string): string {
  return `u:${uid}`
}

/** The key of the session shard of a session that has not logged in; 32 hex digits. */
export function sessionShardKey(session: string): string {
  return `s:${session}`
}
