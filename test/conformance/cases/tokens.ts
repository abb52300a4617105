// Resume tokens that are superseded: a late copy of HELLO, or a stolen token. Invariant: once the client has shown that it
// received a token, no earlier one resumes the session; before that, none is lost.

import assert from 'node:assert/strict'
import { json } from '../../../core/wire/codec.ts'
import { encodeHello, encodeOpen, encodeResume, MESSAGE } from '../../../core/wire/message.ts'
import type { Host } from '../host.ts'
import { Accounts, Hall } from '../sessionshards.ts'
import { frame, join, openRawSession, RawSession, uniqueName, type Case, type ResumeCredentials } from './case.ts'

const { enter, log } = Hall.entries

interface Visitor {
  readonly key: string
  readonly session: RawSession
}

async function joinHall(host: Host): Promise<Visitor> {
  const key = uniqueName()
  const session = await openRawSession(host, 'hall', key)
  await session.call(1, 1, enter.number)
  return { key, session }
}

/** Closes the connection and resumes on another one, in one write; WELCOME and OPENED have arrived. */
async function reconnect(host: Host, { key, session: previous }: Visitor): Promise<RawSession> {
  previous.client.close()
  const session = await RawSession.connect(host)
  session.client.send(helloAndResume(previous.credentials, key, previous.received.opened.at(-1)!.activation))
  await session.waitFor('opened')
  return session
}

function helloAndResume({ session, token }: ResumeCredentials, key: string, activation: number): Uint8Array {
  const hello = encodeHello({ minVersion: 2, maxVersion: 2, session, ticket: new Uint8Array(0), token })
  const resume = encodeResume([{ channel: 1, activation, eventAck: 0, contract: 'hall', key }])
  return join(frame(MESSAGE.HELLO, hello), frame(MESSAGE.RESUME, resume))
}

/** Presents a token that is no longer valid; the connection that stands is not affected. */
async function assertSuperseded(host: Host, from: ResumeCredentials, standing: RawSession): Promise<void> {
  const late = (await RawSession.connect(host)).sendHello(from)
  assert.deepEqual(await late.waitForClose(), ['BAD_TOKEN'])
  assert.equal(late.received.welcome.length, 0)
  const pongs = (): number => standing.client.frames.filter(({ command }) => command === MESSAGE.PONG).length
  const before = pongs()
  standing.send(MESSAGE.PING, new Uint8Array(8))
  await host.waitUntil(() => pongs() > before, 'the session that stands answers')
  assert.deepEqual(standing.errorCodes, [])
}

/** Each first frame after WELCOME shows that WELCOME has arrived. */
const PROOFS: Readonly<Record<string, (session: RawSession) => unknown>> = {
  'a CALL with an opening': (session) => session.call(1, 9, log.number),
  'a PING': (session) => session.send(MESSAGE.PING, new Uint8Array(8)),
  'an ACK': (session) => session.sendAck(1, 1),
  'a CLOSE': (session) => session.closeChannel(1),
}

export const cases: readonly Case[] = [
  ...Object.entries(PROOFS).map(([name, prove]) => ({
    name: `a late HELLO does not take over a session that has sent ${name}`,
    run: async (host: Host) => {
      const visitor = await joinHall(host)
      const original = visitor.session.credentials
      const standing = await reconnect(host, visitor)
      await prove(standing)
      await assertSuperseded(host, original, standing)
      await assertSuperseded(host, original, standing)
    },
  })),
  {
    name: 'a token remains valid while nothing shows that WELCOME arrived, whatever was sent together with HELLO',
    run: async (host) => {
      const visitor = await joinHall(host)
      const { credentials } = visitor.session
      const { activation } = visitor.session.received.opened[0]!
      visitor.session.client.close()
      const open = encodeOpen({ channel: 2, activation: 0, eventAck: 0, contract: 'hall', key: visitor.key })
      const early = [frame(MESSAGE.PING), frame(MESSAGE.ACK, new Uint8Array(12)), frame(MESSAGE.OPEN, open)]
      for (let attempt = 0; attempt < 3; attempt++) {
        const session = await RawSession.connect(host)
        session.client.send(join(helloAndResume(credentials, visitor.key, activation), ...early))
        await session.waitFor('opened', 2)
        session.client.close()
      }
      const last = await openRawSession(host, 'hall', visitor.key, credentials)
      assert.equal(last.received.welcome[0]!.resumed, true)
    },
  },
  {
    name: 'a superseded token stays invalid after the session resumed with its successor, and after a restart of its shard',
    run: async (host) => {
      const visitor = await joinHall(host)
      const original = visitor.session.credentials
      const second = await reconnect(host, visitor)
      await second.call(1, 2, log.number)
      const { credentials } = second
      await host.abortShard('@session', `s:${Buffer.from(original.session).toString('hex')}`)
      const third = await reconnect(host, { ...visitor, session: second })
      await third.call(1, 3, log.number)
      for (const superseded of [original, credentials]) await assertSuperseded(host, superseded, third)
    },
  },
  {
    name: 'the token from before a login is invalid once the client has received the TOKEN that followed',
    run: async (host) => {
      const session = await openRawSession(host, 'accounts', '')
      const original = session.credentials
      await session.call(1, 1, Accounts.entries.login.number, json.encode({ uid: uniqueName('ada') }))
      session.sendAck(1, 1)
      await host.sleep(50)
      await assertSuperseded(host, original, session)
    },
  },
]
