// IPv6 addresses in everything that is printed, and start errors of the operating system: one line that names what
// failed, and never `undefined`.

import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { dialTcp } from '../../client/tcp.ts'
import { thrownText } from '../../core/wire/errors.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { waitFor } from '../support/wait.ts'
import { runToEnd, serve, temporaryFolder } from '../support/program.ts'

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))
const skip = hasIpv6 ? false : 'this machine has no ::1'

for (const host of ['::1', '[::1]'])
  test(`--host ${host}: the printed addresses are URLs that work`, { skip }, async () => {
    const program = await serve('examples/echo', ['--host', host])
    assert.match(program.lines[0]!, /^firefly ready http=http:\/\/\[::1\]:\d+ tcp=\[::1\]:\d+ pid=\d+$/)
    await waitFor(() => program.lines.some((line) => line.startsWith('only this machine')), 'the last line')
    assert.equal((await fetch(`${program.http}/healthz`)).status, 200)
    const { host: tcpHost, port } = program.tcp
    await using web = await connect(`${program.http.replace('http', 'ws')}/ws`)
    await using tcp = await connect(`tcp://${tcpHost}:${port}`, { dial: dialTcp })
    for (const game of [web, tcp]) assert.deepEqual(await game.at(Echo).json({ text: 'six' }), { text: 'six' })
    assert.equal(await program.stop(), 0)
  })

test('an error of the operating system at the start is one line without undefined', async () => {
  const folder = temporaryFolder()
  const file = join(folder, 'file')
  writeFileSync(file, 'not a folder')
  const throws = join(folder, 'throws.ts')
  writeFileSync(throws, 'throw undefined')
  const rows: [args: string[], line: RegExp][] = [
    [['--host', '192.0.2.1', '--data', join(folder, 'a')], /cannot listen on 192\.0\.2\.1:11009 \(EADDRNOTAVAIL\)/],
    [
      ['--host', '2001:db8::1', '--data', join(folder, 'b')],
      /cannot listen on \[2001:db8::1\]:11009 \(EADDRNOTAVAIL\)/,
    ],
    [['--host', '', '--data', join(folder, 'd')], /Not an address such as/],
    [['--data', join(file, 'data')], /ENOTDIR.*file/],
    [['--tls-cert', file, '--tls-key', folder], /file is not PEM|cannot be read/],
    [['--ticket-keys', folder], /--ticket-keys .* cannot be read \(EISDIR\)/],
    [['--app', throws], /does not load: an empty value was thrown/],
  ]
  const ends = rows.map(([args]) => runToEnd(['serve', '--app', 'examples/echo', ...args]))
  for (const [index, { code, stderr }] of (await Promise.all(ends)).entries()) {
    const [args, line] = rows[index]!
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, line, args.join(' '))
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
    assert.doesNotMatch(stderr, /undefined|null|\[object/, args.join(' '))
  }
})

test('whatever was thrown has a text', () => {
  const texts = [undefined, null, '', new Error(''), 'text', 7, { a: 1 }, Symbol('x'), new Error('why')].map(thrownText)
  assert.deepEqual(texts, [
    ...Array<string>(3).fill('an empty value was thrown'),
    'Error: without message',
    '"text"',
    '7',
    'object',
    'Symbol(x)',
    'Error: why',
  ])
})
