// What a turn grants the session that caused it: a login, or a key of a contract. A grant is kept and said again like the
// answer it belongs to, because an answer that arrives without it would be a lie.

import { Reader, Writer } from '../wire/bytes.ts'
import type { ChannelOut } from './ports.ts'

export type Grant =
  | { readonly kind: 'login'; readonly uid: string; readonly epoch: number }
  | { readonly kind: 'bind'; readonly contract: string; readonly key: string }

const utf8 = new TextEncoder()

export function encodeGrant(grant: Grant): Uint8Array {
  if (grant.kind === 'login') {
    const uid = utf8.encode(grant.uid)
    return new Writer(6 + uid.length).u32(grant.epoch).blob(uid).bytes
  }
  const [contract, key] = [utf8.encode(grant.contract), utf8.encode(grant.key)]
  return new Writer(4 + contract.length + key.length).blob(contract).blob(key).bytes
}

export function sayGrant(out: ChannelOut | null, kind: Grant['kind'], body: Uint8Array): void {
  const r = new Reader('a grant', body, 0, body.length)
  if (kind === 'bind') return out?.bind(r.text16(), r.text16())
  const epoch = r.u32()
  out?.login(r.text16(), epoch)
}
