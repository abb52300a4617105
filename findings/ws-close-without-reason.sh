#!/usr/bin/env bash
# An application cannot tell a WebSocket client why its message was refused: ws has sent Close without a reason by then.
#
# Guess:    a server that hears of a too large message by the 'error' event can answer close(1009, reason), as it can for a
#           message that it refuses itself.
# Reality:  ws sends its Close frame first, with code 1009 and an empty reason, and emits 'error' afterwards. In the listener
#           readyState is CLOSING (2), and close(1009, reason) does not change it. In its source, all errors of
#           the receiver take that path.
# Version:  ws 8.23.0 on Node.js 24.21.0.
# Why it matters: a message above maxPayload is valid by RFC 6455; the limit is the server's own. The developer of the client
#           sees 1009 and an empty reason, neither the limit nor the size. A server that wants to name them must set
#           maxPayload above its own limit and check the length itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "name": "example", "version": "1.0.0", "private": true }' >package.json
npm install --no-audit --no-fund --loglevel=error node@24.21.0 ws@8.23.0 >/dev/null
cat >close.mjs <<'JS'
import { once } from "node:events"
import { connect } from "node:net"
import { WebSocketServer } from "ws"

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 16 })
await once(server, "listening")
server.on("connection", (socket) => {
  socket.on("message", () => socket.close(1009, "refused by the application"))
  socket.on("error", ({ code }) => {
    console.log(`  'error' event ${code}, readyState ${socket.readyState}`)
    socket.close(1009, "the limit is 16 bytes")
  })
})

/** Sends one binary message of `length` bytes (masked with zeros) and returns the payload of the server's first frame. */
async function closePayload(length) {
  const client = connect(server.address().port, "127.0.0.1")
  let received = Buffer.alloc(0)
  const receive = async (isComplete) => {
    while (!isComplete()) received = Buffer.concat([received, ...(await once(client, "data"))])
  }
  client.write(
    ["GET / HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""].join("\r\n"))
  await receive(() => received.includes("\r\n\r\n"))
  received = received.subarray(received.indexOf("\r\n\r\n") + 4)
  client.write(Buffer.concat([Buffer.from([0x82, 0x80 | length, 0, 0, 0, 0]), Buffer.alloc(length)]))
  await receive(() => received.length >= 2 && received.length >= 2 + received[1])
  client.destroy()
  return received.subarray(2, 2 + received[1])
}

for (const length of [16, 17]) {
  console.log(`message of ${length} bytes, maxPayload 16`)
  const payload = await closePayload(length)
  console.log(`  Close frame: code ${payload.readUInt16BE(0)}, reason ${JSON.stringify(payload.toString("utf8", 2))}`)
}
process.exit()
JS
timeout 20 node_modules/.bin/node close.mjs | tee out.txt
# The surprise: the second Close frame has no reason, although the application gave one.
diff - out.txt <<'TEXT'
message of 16 bytes, maxPayload 16
  Close frame: code 1009, reason "refused by the application"
message of 17 bytes, maxPayload 16
  'error' event WS_ERR_UNSUPPORTED_MESSAGE_LENGTH, readyState 2
  Close frame: code 1009, reason ""
TEXT
