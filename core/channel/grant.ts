// What a turn grants the session that caused it: a login, or a key of a contract. A grant is retained and resent like the
// reply of its call, because the client must not get the reply without it.

import { ByteReader, ByteWriter, utf8Encoder } from '../wire/bytes.ts'
import type { ChannelOut } from '../ports/link.ts'

export type SessionGrant =
  | { readonly kind: 'login'; readonly uid: string; readonly epoch: number }
  | { readonly kind: 'bind'; readonly contract: string; readonly key: string }

export function encodeGrant(grant: SessionGrant): Uint8Array {
  if (grant.kind === 'login') {
    const uid = utf8Encoder.encode(grant.uid)
    return new ByteWriter(6 + uid.length).u32(grant.epoch).blob(uid).bytes
  }
  const [contract, key] = [utf8Encoder.encode(grant.contract), utf8Encoder.encode(grant.key)]
  return new ByteWriter(4 + contract.length + key.length).blob(contract).blob(key).bytes
}

export function sendGrant(out: ChannelOut | null, kind: SessionGrant['kind'], body: Uint8Array): void {
  const reader = new ByteReader('a grant', body, 0, body.length)
  if (kind === 'bind') return out?.keyBound(reader.text16(), reader.text16())
  const epoch = reader.u32()
  out?.loggedIn(reader.text16(), epoch)
}
