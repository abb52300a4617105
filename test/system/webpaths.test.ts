// One rule on both hosts: the paths of the WebSocket and of everything else, with and without the prefix of a reverse
// proxy, and the subprotocol.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { PathError, parseSubprotocols, selectSubprotocol, WebPaths } from '../../edge/gateway/webpaths.ts'
import { startVisits } from '../support/visits.ts'
import { startWorkers } from '../support/workers.ts'

const ENTRY = new URL('../conformance/fixtures/gameworker.ts', import.meta.url).pathname
const PAGE = new Map([['/', { type: 'text/html; charset=utf-8', body: Buffer.from('the page') }]])

/** Opens a WebSocket; returns its subprotocol, or the status of the refusal. */
function open(
  url: string,
  subprotocols: string[] = [],
  headers: Record<string, string> = {},
): Promise<string | number> {
  const socket = new WebSocket(url, subprotocols, { headers })
  return new Promise((resolve, reject) => {
    socket.on('open', () => {
      resolve(socket.protocol)
      socket.terminate()
    })
    socket.on('unexpected-response', (request, { statusCode = 0 }) => {
      request.destroy()
      resolve(statusCode)
    })
    socket.on('error', reject)
  })
}

async function checkPaths(http: string): Promise<void> {
  const ws = http.replace('http', 'ws')
  for (const path of ['/ws', '/game/ws', '/socket/v2', '/game/socket/v2', '/ws?x=1'])
    assert.equal(await open(ws + path), '', path)
  for (const path of ['/', '/game', '/game/', '/ws/', '/gamews', '/other/ws', '/game/game/ws', '/healthz'])
    assert.equal(typeof (await open(ws + path)), 'number', path)
  for (const path of ['/ws', '/game/ws', '/socket/v2']) assert.equal((await fetch(http + path)).status, 426, path)
  for (const path of ['/healthz', '/game/healthz']) {
    const { status } = (await (await fetch(http + path)).json()) as { status: string }
    assert.equal(status, 'ok', path)
  }
  for (const path of ['/other/healthz', '/gamehealthz']) assert.equal((await fetch(http + path)).status, 404, path)
  const redirect = await fetch(`${http}/game?auto=1`, { redirect: 'manual' })
  assert.deepEqual([redirect.status, redirect.headers.get('location')], [308, '/game/?auto=1'])
}

async function checkSubprotocols(url: string): Promise<void> {
  assert.equal(await open(url), '')
  assert.equal(await open(url, ['firefly']), 'firefly')
  assert.equal(await open(url, ['binary', 'firefly']), 'firefly')
  assert.equal(await open(url, ['binary', 'base64']), 'binary')
  const bad = { 'Sec-WebSocket-Protocol': 'a, a' }
  // The client refuses what the server did not select; a list that the server refuses has a status.
  assert.equal(await open(url, [], bad), 400)
}

test('Node: paths with and without prefix, and the subprotocol', async () => {
  const server = await startVisits({ basePath: '/game/', wsPath: '/socket/v2', page: PAGE })
  const http = `http://127.0.0.1:${server.http.port}`
  await checkPaths(http)
  await checkSubprotocols(`${http.replace('http', 'ws')}/ws`)
  for (const path of ['/', '/game/']) assert.equal(await (await fetch(http + path)).text(), 'the page')
  assert.equal((await fetch(`${http}/game/metrics`)).status, 200)
  const plain = await startVisits({ page: PAGE })
  assert.equal((await fetch(`http://127.0.0.1:${plain.http.port}/game/`)).status, 404)
})

test('Cloudflare: paths with and without prefix, and the subprotocol', async () => {
  await using workers = await startWorkers({
    entry: ENTRY,
    vars: { FIREFLY_BASE_PATH: '/game', FIREFLY_WS_PATH: '/socket/v2' },
  })
  await checkPaths(workers.http.replace(/\/$/, ''))
  await checkSubprotocols(workers.url)
})

test('paths and subprotocols that are invalid', () => {
  for (const path of [
    'game',
    '//',
    '/a//b',
    '/a?b',
    '/a#b',
    '/a b',
    '/%41',
    '/é',
    'http://x/',
    '/.',
    '/a/..',
    '/a/../b',
    '/./a',
  ])
    assert.throws(() => new WebPaths(path), PathError, path)
  assert.throws(() => new WebPaths('', 'ws'), /path "ws" is not like \/game or \/eu\/game/)
  for (const path of ['', '/', '/game', '/game/', '/eu/game-1/~x', '/.a/..b/...'])
    assert.doesNotThrow(() => new WebPaths(path), path)
  assert.equal(new WebPaths('/').localPath('/ws'), '/ws')
  for (const header of ['', 'a,', 'a b', 'a, a', 'a, "b"']) assert.equal(parseSubprotocols(header), null, header)
  assert.deepEqual(parseSubprotocols('a , b'), ['a', 'b'])
  assert.deepEqual(parseSubprotocols(null), [])
  assert.equal(selectSubprotocol([]), null)
})
