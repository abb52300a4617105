#!/usr/bin/env bash
# Starting a child process with an inherited standard stream makes that stream blocking in the parent.
#
# Guess:    O_NONBLOCK of an open file of the parent stays as it is when a child process is started; what the child needs is
#           set for the child.
# Reality:  the flag belongs to the open file description, which parent and child share. In the child, before exec, libuv
#           clears it for descriptors 0 to 2 that were handed over, so it is cleared in the parent too and never set again.
#           Both a descriptor opened with O_NONBLOCK and process.stderr on a pipe (Node sets the flag itself when the stream
#           is first used) lose it. A descriptor that the child gets as number 3 keeps it, and so does one that is not
#           handed over.
# Version:  Node.js 24.21.0, Linux (the flags are read in /proc/self/fdinfo).
# Why it matters: a server that writes logs to a non-blocking stderr is blocked by a slow reader of the log again, in its
#           main thread, once any library has started a child that inherits stderr (esbuild's service does). A second open
#           of /proc/self/fd/2 that is handed to no child keeps its flag.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "name": "example", "version": "1.0.0", "private": true }' >package.json
npm install --no-audit --no-fund --loglevel=error node@24.21.0 >/dev/null
cat >flags.mjs <<'JS'
import { spawn } from "node:child_process"
import { once } from "node:events"
import { constants, openSync, readFileSync } from "node:fs"

const flagOf = (fd) => {
  const [, flags] = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))
  return Number.parseInt(flags, 8) & constants.O_NONBLOCK ? "non-blocking" : "blocking"
}
const runChild = (...stdio) => once(spawn("true", { stdio }), "exit")

// Standard error is a pipe. This is a second open file of that pipe.
const fd = openSync("/proc/self/fd/2", constants.O_WRONLY | constants.O_NONBLOCK)
console.log(`opened descriptor: ${flagOf(fd)}`)
await runChild("ignore", "ignore", "ignore")
console.log(`opened descriptor after a child that does not get it: ${flagOf(fd)}`)
await runChild("ignore", "ignore", "ignore", fd)
console.log(`opened descriptor after a child that gets it as 3: ${flagOf(fd)}`)
await runChild("ignore", "ignore", fd)
console.log(`opened descriptor after a child that gets it as 2: ${flagOf(fd)}`)

process.stderr.write("line\n")
console.log(`process.stderr after a write: ${flagOf(2)}`)
await runChild("ignore", "ignore", "inherit")
process.stderr.write("line\n")
console.log(`process.stderr after a child that inherits it, and a write: ${flagOf(2)}`)
JS
node_modules/.bin/node -p '`Node.js ${process.version}`'
node_modules/.bin/node flags.mjs >out.txt 2> >(cat >/dev/null)
cat out.txt
# The surprise: the fourth and the sixth line say that the parent's file is blocking.
diff - out.txt <<'TEXT'
opened descriptor: non-blocking
opened descriptor after a child that does not get it: non-blocking
opened descriptor after a child that gets it as 3: non-blocking
opened descriptor after a child that gets it as 2: blocking
process.stderr after a write: non-blocking
process.stderr after a child that inherits it, and a write: blocking
TEXT
