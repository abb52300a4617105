// The transcripts of the session protocol against the server of this project, on both hosts and both transports.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test from 'node:test'
import { promisify } from 'node:util'
import { serve } from '../support/program.ts'
import { startWorkers } from '../support/workers.ts'
import { playServerTranscript, type ServerStep } from '../vectors/servertranscript.ts'
import { readTranscripts } from '../vectors/transcript.ts'

const transcripts = readTranscripts<ServerStep>('server')

async function playAll(url: string): Promise<void> {
  for (const transcript of transcripts) await playServerTranscript(url, transcript)
}

test('the Node server answers every transcript by TCP and by WebSocket', async () => {
  const program = await serve('examples/conformance')
  try {
    await playAll(`tcp://${program.tcp.host}:${program.tcp.port}`)
    await playAll(`${program.http.replace('http', 'ws')}/ws`)
    const run = promisify(execFile)(process.execPath, [
      'test/vectors/main.ts',
      `tcp://${program.tcp.host}:${program.tcp.port}`,
      'late copy',
    ])
    assert.match((await run).stdout, /^ok a late copy .*\n1 of 1 transcripts passed\n$/)
  } finally {
    await program.stop()
  }
})

test('workerd answers every transcript', async () => {
  const entry = new URL('../../examples/conformance/worker.ts', import.meta.url).pathname
  await using workers = await startWorkers({ entry })
  await playAll(workers.url)
})

test('the runner fails for a server that does not answer as expected, and for a wrong URL', async () => {
  const program = await serve('examples/hello')
  try {
    const wrong: readonly ServerStep[] = [
      { connect: 'a' },
      { send: 'a', messages: [{ message: 'HELLO' }, { message: 'CLOSE', fields: { channel: 1, code: '' } }] },
      { send: 'a', messages: [{ message: 'HELLO' }] },
      { expectClose: 'a', reason: 'KICKED' },
    ]
    const url = `tcp://${program.tcp.host}:${program.tcp.port}`
    await assert.rejects(
      playServerTranscript(url, { name: 'wrong', steps: wrong }),
      /wrong, step 4 .*KICKED.*BAD_MESSAGE/s,
    )
  } finally {
    await program.stop()
  }
  await assert.rejects(promisify(execFile)(process.execPath, ['test/vectors/main.ts', 'http://x']), /usage: npm run/)
})
