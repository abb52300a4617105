// `npm run vectors -- URL [NAME]`: plays the transcripts of schemas/vectors/transcripts/server.json against the server at
// tcp://host:port or ws://host:port/ws, which must serve examples/conformance. NAME picks those that contain it. Exits 1 when
// one fails.

import { playServerTranscript, type ServerStep } from './servertranscript.ts'
import { readTranscripts } from './transcript.ts'

const [url = '', filter = ''] = process.argv.slice(2)
if (!/^(tcp|wss?):\/\//.test(url)) {
  console.error('usage: npm run vectors -- tcp://host:port | ws://host:port/ws [NAME]')
  process.exit(2)
}
const transcripts = readTranscripts<ServerStep>('server').filter(({ name }) => name.includes(filter))
let failed = 0
for (const transcript of transcripts) {
  try {
    await playServerTranscript(url, transcript)
    console.log(`ok ${transcript.name}`)
  } catch (error) {
    failed++
    console.log(`not ok ${error instanceof Error ? error.message : String(error)}`)
  }
}
console.log(`${transcripts.length - failed} of ${transcripts.length} transcripts passed`)
process.exit(failed === 0 && transcripts.length > 0 ? 0 : 1)
