#!/usr/bin/env bash
# knip reports no unused export of any file below test/ once a package script runs `node --test`.
#
# Guess:    only files that match the configured `entry` patterns are entries; an export of a test helper that no file
#           imports is reported like any other.
# Reality:  the plugin for Node's test runner switches itself on when a script contains `node --test`, and adds every file
#           below test/ (the runner's own default pattern) to the entries, beside the configured ones. Exports of entries
#           count as used. The check exits 0. `"node": false` switches the plugin off, and the export is reported.
# Version:  knip 6.44.2 with typescript 5.9.3.
# Why it matters: a "dead code" step in CI passes while test helpers and drills collect unused code.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src test
cat >package.json <<'JSON'
{ "name": "example", "version": "1.0.0", "type": "module", "scripts": { "test": "node --test" } }
JSON
npm install --no-audit --no-fund --loglevel=error --save-dev knip@6.44.2 typescript@5.9.3 @types/node@24.19.2 >/dev/null
echo "export const sum = (a, b) => a + b; console.log(sum(1, 2))" >src/index.js
echo "export const used = 1; export const unused = 2" >test/support.js
echo "import { used } from './support.js'; console.log(used)" >test/sum.test.js

run() {
  echo "$1" >knip.json
  local code=0
  npx knip --include exports >out.txt 2>/dev/null || code=$?
  echo "knip.json $1"
  echo "  exit $code, output: $(tr -s ' \n' ' ' <out.txt)"
  result=$code
}

run '{ "entry": ["src/index.js", "test/*.test.js"], "project": ["{src,test}/**/*.js"] }'
withPlugin=$result
run '{ "entry": ["src/index.js", "test/*.test.js"], "project": ["{src,test}/**/*.js"], "node": false }'
withoutPlugin=$result
# The surprise: the first run finds nothing, the second reports `unused`.
[ "$withPlugin" -eq 0 ] && [ "$withoutPlugin" -ne 0 ] && grep -q 'unused' out.txt
