#!/usr/bin/env bash
# SIGTERM to `npm run` ends npm and its shell, and leaves the program of the script running.
#
# Guess:    npm passes SIGTERM on to the program of the script and ends after it; at the latest for a script that is one
#           command, such as `node server.mjs`.
# Reality:  npm starts `sh -c SCRIPT` and sends the signal to that shell alone. A shell that waits for a command dies of the
#           signal and does not pass it on. npm then ends by SIGTERM too (143), as if all had ended, while the program goes
#           on with no parent. dash, `sh` of Debian and Ubuntu, waits even for a script of one command; bash replaces
#           itself by a single or last command, so there the signal arrives. `exec node server.mjs` works with both.
#           Related: github.com/npm/cli/issues/5776.
# Version:  npm 11.19.1, Node.js 24.21.0, dash 0.5.12 (a later dash may replace itself too), bash 5.2.
# Why it matters: a supervisor or a test that stops `npm start` believes that the server has ended; the server keeps its
#           port, gets no chance to shut down in order, and the next start fails.
set -euo pipefail
folder=$(mktemp -d)
server=
cleanUp() {
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanUp EXIT
cd "$folder"
cat >package.json <<'JSON'
{
  "name": "example", "version": "1.0.0", "private": true,
  "scripts": { "one": "node server.mjs", "two": "node server.mjs; true", "exec": "exec node server.mjs" }
}
JSON
cat >server.mjs <<'JS'
import { renameSync, writeFileSync } from "node:fs"
process.on("SIGTERM", () => process.exit(0))
writeFileSync("pid.tmp", String(process.pid))
renameSync("pid.tmp", "pid")
setTimeout(() => {}, 60_000)
JS
npm install --no-audit --no-fund --loglevel=error node@24.21.0 npm@11.19.1 >/dev/null
export PATH="$folder/node_modules/.bin:$PATH"
echo "npm $(npm --version), Node.js $(node --version)"

# Waits until the program has ended, at most for the given tenths of a second.
ends() {
  for ((i = 0; i < $1; i++)); do
    kill -0 "$server" 2>/dev/null || return 0
    sleep 0.1
  done
  return 1
}

run() {
  local code=0 state=running
  rm -f pid
  npm run --silent --script-shell="$1" "$2" </dev/null &
  local npm=$!
  for ((i = 0; i < 100; i++)); do
    [ ! -e pid ] || break
    sleep 0.1
  done
  server=$(cat pid)
  kill -TERM "$npm"
  wait "$npm" 2>/dev/null || code=$?
  if ends 20; then state=ended; fi
  echo "$1, script '$2': npm ended with $code, the server is $state" | tee -a out.txt
  # Sent to the program itself, the signal ends it.
  [ "$state" = ended ] || kill -TERM "$server"
  ends 50
  server=
}

run dash one
run dash two
run dash exec
run bash one
run bash two
# The surprise: in three of five cases npm has ended and the server has not.
diff - out.txt <<'TEXT'
dash, script 'one': npm ended with 143, the server is running
dash, script 'two': npm ended with 143, the server is running
dash, script 'exec': npm ended with 0, the server is ended
bash, script 'one': npm ended with 0, the server is ended
bash, script 'two': npm ended with 143, the server is running
TEXT
