#!/usr/bin/env bash
# A listening socket of Node 24 accepts one connection per turn of the event loop.
#
# Guess:    when the loop gets to the listening socket, it accepts every connection that waits in the backlog (or at least a
#           batch), so that a server whose turns last 20 ms is 20 ms behind.
# Reality:  it accepts one, and the next one in the next turn: 60 clients that connect at once need 60 turns, which is over a
#           second with turns of 20 ms. Further listening sockets of the same port (`reusePort`) accept one each, so that the
#           kernel's distribution over them divides the number of turns.
# Version:  Node 24.21.0 (libuv 1.52.1), Linux.
# Why it matters: after a network fault thousands of players reconnect at once, just when the turns are long. They wait for
#           their place in the backlog, time out, and connect again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "type": "module" }' >package.json
npm install --no-audit --no-fund --loglevel=error node@24.21.0 >/dev/null
cat >server.js <<'JS'
import { fork } from 'node:child_process'
import { createServer } from 'node:net'

const [, , sockets] = process.argv
const CLIENTS = 60
const TURN_MS = 20
let accepted = 0
let turns = 0
const listen = (port) =>
  new Promise((done) => {
    const server = createServer(() => accepted++)
    server.listen({ port, host: '127.0.0.1', reusePort: true }, () => done(server.address().port))
  })
const port = await listen(0)
for (let i = 1; i < Number(sockets); i++) await listen(port)
// All clients are in the backlog before the first busy turn.
const clients = fork('./clients.js', [String(port), String(CLIENTS)])
function turn() {
  if (accepted > 0) turns++
  for (const end = performance.now() + TURN_MS; performance.now() < end; );
  if (accepted < CLIENTS) return setImmediate(turn)
  clients.kill()
  console.log(turns)
  process.exit()
}
setImmediate(turn)
JS
cat >clients.js <<'JS'
import { connect } from 'node:net'
const [, , port, count] = process.argv
for (let i = 0; i < Number(count); i++) connect(Number(port), '127.0.0.1')
setTimeout(() => process.exit(), 20_000)
JS
node() { ./node_modules/.bin/node "$@"; }
echo "node $(node --version), libuv $(node -p process.versions.uv)"
one=$(timeout 25 node_modules/.bin/node server.js 1)
eight=$(timeout 25 node_modules/.bin/node server.js 8)
echo "turns until 60 connections are accepted: 1 listening socket: $one, 8 listening sockets: $eight"
# The surprise: about one turn per connection, and far fewer with more sockets.
[ "$one" -ge 50 ] && [ "$eight" -le 30 ]
