// planetscaleClient without a database: the requests that it sends, and its handling of invalid answers.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { DatabaseError, type SqlValue } from '../../core/sql/client.ts'
import { planetscaleClient } from '../../core/sql/planetscale.ts'

const ADDRESS = 'https://ada:sesame@db.example/game'
const ONE = { sql: 'SELECT 1', params: [] }

function isDatabaseError(kind: string, message: RegExp, errno = 0) {
  return (error: unknown) => {
    assert(error instanceof DatabaseError)
    assert.match(error.message, message)
    const all = inspect(error, { depth: 9, showHidden: true })
    assert(!all.includes('sesame') && !all.includes(btoa('ada:sesame')), all)
    assert.deepEqual([error.kind, error.errno, error.statement], [kind, errno, -1])
    return true
  }
}

test('reports an unusable url without its password', () => {
  const BAD = [
    '',
    'x',
    'mysql://ada:sesame@db.example/game',
    'https://ada@db.example/game',
    'https://:sesame@db.example/game',
    'https://ada:sesame%C3%A9@db.example/game',
    'https://ada:sesame@:/game',
  ]
  for (const url of BAD)
    assert.throws(() => planetscaleClient({ url }), isDatabaseError('access', /^the database url .*its form is https:/))
})

test('sends a request to the host of the url, with the login of the url and without `cache`', async () => {
  let sent: Request | undefined
  const client = planetscaleClient({
    url: 'http://a%25:b%2F%3A@[::1]:81/game?x=1',
    fetch: async (input, init) => {
      assert(init?.signal && !('cache' in init))
      sent = new Request(input, init)
      return new Response('{"session":{}}')
    },
  })
  const statement = { sql: 'SELECT ?, ?', params: ["it's", true] }
  const { rows, columns, affected, insertId } = await client.query(statement)
  assert.deepEqual([rows, columns, affected, insertId], [[], [], 0, 0n])
  assert(sent)
  assert.equal(sent.url, 'http://[::1]:81/psdb.v1alpha1.Database/Execute')
  assert.deepEqual([sent.method, sent.redirect], ['POST', 'manual'])
  assert.equal(sent.headers.get('authorization'), `Basic ${btoa('a%:b/:')}`)
  assert.deepEqual(await sent.json(), { query: "SELECT 'it''s', 1", session: null })
})

test('rejects an invalid statement before anything is sent', async () => {
  const client = planetscaleClient({ url: ADDRESS, fetch: () => assert.fail('sent') })
  const BUGS: readonly (readonly [string, unknown[], RegExp])[] = [
    ["SELECT 'a?'", [], /TypeError: a statement contains a quote/],
    ['SELECT "a?"', [1], /TypeError: a statement contains a quote/],
    ['SELECT ?', [], /RangeError: 0 parameters for 1 placeholders/],
    ['SELECT ?', [1, 2], /RangeError: 2 parameters for 1 placeholders/],
    ['SELECT ?', [NaN], /TypeError: parameter 0 is not a SQL value: NaN/],
    ['SELECT ?, ?', [1, -Infinity], /TypeError: parameter 1 is not a SQL value: -Infinity/],
    ['SELECT ?', [undefined], /undefined/],
    ['SELECT ?', [{ a: 1 }], /object/],
    ['SELECT ?', [[1]], /object/],
    ['SELECT ?', [new Date()], /object/],
  ]
  for (const [text, params, message] of BUGS) {
    const bug = { sql: text, params: params as SqlValue[] }
    await assert.rejects(client.query(bug), message)
    await assert.rejects(
      client.transact([ONE, bug], () => true),
      message,
    )
  }
})

/** Known error texts of PlanetScale and Vitess, with the expected kind and errno. */
const SERVER_ERRORS: readonly (readonly [number, string, string, number])[] = [
  [
    200,
    "target: db.-.primary: vttablet: rpc error: code = AlreadyExists desc = Duplicate entry '(errno 1) (sqlstate HY000)' for key 'k' (errno 1062) (sqlstate 23000) (CallerID: abc): Sql: \"insert into t values (:vtg1)\", BindVars: {REDACTED}",
    'refused',
    1062,
  ],
  [
    200,
    'target: db.-.primary: vttablet: rpc error: code = Aborted desc = transaction 1682305339595512410: ended at 2023-04-24 20:22:08.207 UTC (exceeded timeout: 20s) (CallerID: abc)',
    'unavailable',
    0,
  ],
  [200, 'vttablet: rpc error: code = PermissionDenied desc = Insert command denied to user', 'access', 1142],
  [200, 'grpc: received message larger than max (20000000 vs. 16777216)', 'refused', 1153],
  [413, 'too large', 'refused', 1153],
  [403, 'blocked', 'access', 0],
  [500, 'x (errno 1062) (sqlstate 23000)', 'unavailable', 1062],
  [429, 'slow down', 'unavailable', 0],
]

test('converts error answers of PlanetScale, and answers outside of its protocol, to a DatabaseError', async () => {
  const answering = (body: string, status = 200) =>
    planetscaleClient({ url: ADDRESS, fetch: async () => new Response(body, { status }) })
  for (const [status, message, kind, errno] of SERVER_ERRORS) {
    const client = answering(JSON.stringify({ error: { code: 'UNKNOWN', message } }), status)
    await assert.rejects(client.query(ONE), isDatabaseError(kind, /^db\.example: ./, errno))
  }
  const INVALID_BODIES = [
    '',
    '{}',
    'null',
    '[]',
    '"session"',
    '{"session":null}',
    '{"session":{},"result":{"fields":[{"name":"a"}],"rows":[{"lengths":[]}]}}',
    '{"session":{},"result":{"fields":[{"name":"a"}],"rows":[{}]}}',
    '{"session":{},"result":{"rowsAffected":"x"}}',
    '{"session":{},"result":{"insertId":"x"}}',
  ]
  for (const body of INVALID_BODIES) {
    await assert.rejects(answering(body).query(ONE), isDatabaseError('unavailable', /./), body)
  }
  await assert.rejects(answering('{"error":{}}').query(ONE), isDatabaseError('unavailable', /./))
  await assert.rejects(answering('', 302).query(ONE), isDatabaseError('unavailable', /HTTP 302/))
})
