// The transcripts of the session protocol for SDKs, played against the SDK of this project.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { playClientTranscript, type ClientStep } from '../vectors/clienttranscript.ts'
import { readTranscripts } from '../vectors/transcript.ts'

for (const transcript of readTranscripts<ClientStep>('client'))
  test(transcript.name, () => playClientTranscript(transcript))

test('the player fails at a step that the SDK does not do', async () => {
  const steps: readonly ClientStep[] = [{ accept: 1 }, { receive: 1, message: 'RESUME' }]
  await assert.rejects(playClientTranscript({ name: 'wrong', steps }), /wrong, step 2 .*RESUME.*received 1: HELLO/s)
})
