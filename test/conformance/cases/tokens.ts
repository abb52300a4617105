// Resume tokens that are superseded: a late copy of HELLO, or a stolen token. Invariant: once the client has shown that it
// received a token, no earlier one resumes the session; before that, none is lost.

import assert from 'node:assert/strict'
import { json } from '../../../core/wire/codec.ts'
import { encodeHello, encodeOpen, encodeResume, MESSAGE } from '../../../core/wire/message.ts'
import type { Host } from '../host.ts'
import { Accounts, Hall } from '../sessionshards.ts'
import { frame, join, openRawSession, RawSession, uniqueName, type Case, type ResumeCredentials } from './case.ts'
import { joinHall, resumeSession, type HallMember } from './resume.ts'

const { log } = Hall.entries

/** Closes the connection and resumes on another one; WELCOME and OPENED have arrived. */
function reconnect(host: Host, member: HallMember): Promise<RawSession> {
  member.session.client.close()
  return resumeSession(host, member)
}

/** Resumes on a new connection that sends HELLO alone: nothing shows that its WELCOME arrives. */
async function welcomed(host: Host, from: ResumeCredentials): Promise<RawSession> {
  const session = (await RawSession.connect(host)).sendHello(from)
  await session.waitFor('welcome')
  return session
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
      visitor.session.client.close()
      const open = { activation: 0, eventAck: 0, contract: 'hall', key: visitor.key }
      const early = [
        frame(MESSAGE.HELLO, encodeHello({ minVersion: 2, maxVersion: 2, ticket: new Uint8Array(0), ...credentials })),
        frame(MESSAGE.RESUME, encodeResume([{ ...open, channel: 1 }])),
        frame(MESSAGE.PING),
        frame(MESSAGE.ACK, new Uint8Array(12)),
        frame(MESSAGE.OPEN, encodeOpen({ ...open, channel: 2 })),
      ]
      for (let attempt = 0; attempt < 3; attempt++) {
        const session = await RawSession.connect(host)
        session.client.send(join(...early))
        await session.waitFor('opened', 2)
        session.client.close()
      }
      const last = await openRawSession(host, 'hall', visitor.key, credentials)
      assert.equal(last.received.welcome[0]!.resumed, true)
    },
  },
  {
    name: 'each token of an unconfirmed WELCOME resumes the session, also after late HELLOs with an earlier one',
    run: async (host) => {
      const visitor = await joinHall(host)
      const original = visitor.session.credentials
      visitor.session.client.close()
      const handedOut = [original]
      for (let copy = 0; copy < 3; copy++) handedOut.push((await welcomed(host, original)).credentials)
      for (const from of handedOut) assert.equal((await welcomed(host, from)).received.welcome[0]!.resumed, true)
      const standing = await openRawSession(host, 'hall', visitor.key, handedOut.at(-1))
      await standing.call(1, 9, log.number)
      for (const superseded of handedOut) await assertSuperseded(host, superseded, standing)
    },
  },
  {
    name: 'a session that a late HELLO of its own abandoned connection has replaced is resumed with its last token',
    run: async (host) => {
      const visitor = await joinHall(host)
      const { credentials } = visitor.session
      visitor.session.client.close()
      const successor = await welcomed(host, credentials)
      const abandoned = await welcomed(host, credentials)
      assert.deepEqual(await successor.waitForClose(), ['REPLACED'])
      abandoned.client.close()
      const resumed = await openRawSession(host, 'hall', visitor.key, successor.credentials)
      await resumed.call(1, 2, log.number)
      for (const superseded of [credentials, successor.credentials]) await assertSuperseded(host, superseded, resumed)
    },
  },
  {
    name: 'late HELLOs of connections that are closed at once revoke no token',
    run: async (host) => {
      const visitor = await joinHall(host)
      const { credentials } = visitor.session
      visitor.session.client.close()
      const successor = await welcomed(host, credentials)
      for (let copy = 0; copy < 3; copy++) (await RawSession.connect(host)).sendHello(credentials).client.close()
      successor.client.close()
      await openRawSession(host, 'hall', visitor.key, successor.credentials)
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
    name: 'a superseded token stays invalid after the gateway that confirmed its successor was killed',
    needs: ['kill'],
    run: async (host) => {
      const visitor = await joinHall(host)
      const original = visitor.session.credentials
      const second = await reconnect(host, visitor)
      await second.call(1, 2, log.number)
      await host.killProcess!()
      await second.waitForClose()
      const third = await openRawSession(host, 'hall', visitor.key, second.credentials)
      assert.equal(third.received.welcome[0]!.resumed, true)
      await assertSuperseded(host, original, third)
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
