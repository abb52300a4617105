// The options of `firefly serve`: from the command line, then FIREFLY_* variables, then firefly.json, then defaults.
// Invariant: every value is checked when it is read; an invalid one is an error of one line.

import { Command, InvalidArgumentError, Option } from 'commander'
import { readFileSync } from 'node:fs'
import type { LogLevel } from '../core/node/log.ts'
import { MIN_SECRET_CHARS } from '../core/node/secret.ts'
import { parseFrameHead, type FrameIdentity } from '../core/wire/frame.ts'
import { DEFAULT_LIMITS, TIMES } from '../core/wire/limits.ts'
import { LIMIT_OPTIONS, TIME_OPTIONS } from '../edge/gateway/limitoptions.ts'
import { integerIn, LIMIT_HELP, TIME_HELP, numberOptions } from './limithelp.ts'
import { networkFilter } from '../edge/gateway/address.ts'
import { DEFAULT_TOLERANCE_MS, MAX_TOLERANCE_MS } from '../edge/gateway/ticket.ts'
import { WebPaths } from '../edge/gateway/webpaths.ts'
import { originFilter } from '../edge/gateway/origin.ts'

/** An invalid value; the message is the line to print. */
export class OptionError extends Error {
  override readonly name = 'OptionError'
}

const LOG_LEVELS: readonly LogLevel[] = ['info', 'warn', 'error', 'silent']

function parseHead(text: string): FrameIdentity['head'] {
  const head = parseFrameHead(text)
  if (head) return head
  throw new InvalidArgumentError('Not four numbers from 0 to 255, such as 78,37,38,48.')
}

/** Also accepts an IPv6 address as a URL contains it. */
function parseHost(text: string): string {
  const host = text.replace(/^\[(.*)\]$/, '$1')
  if (host !== '') return host
  // Node would listen on all interfaces.
  throw new InvalidArgumentError('Not an address such as 127.0.0.1, ::1 or 0.0.0.0.')
}

/** An empty one would be the working folder, or nothing. */
function parsePath(text: string): string {
  if (text.trim() !== '') return text
  throw new InvalidArgumentError('Not a path.')
}

/** Keeps the text if `check` accepts it. */
function checkedBy(check: (text: string) => unknown): (text: string) => string {
  return (text) => {
    try {
      check(text)
    } catch (error) {
      throw new InvalidArgumentError(`${(error as Error).message}.`)
    }
    return text
  }
}

type OptionDefinition = readonly [flags: string, help: string, defaultValue: unknown, parse: (text: string) => unknown]
const parseText = (value: string): string => value

/** By key of firefly.json: the flag in camelCase. */
const OPTIONS = {
  app: ['--app <path>', 'module of the game, or a folder with server.ts', 'examples/arena', parsePath],
  host: ['--host <address>', 'address to listen on; 0.0.0.0 opens it to the network', '127.0.0.1', parseHost],
  http: ['--http <port>', 'HTTP and WebSocket port, 0 picks a free one', 8_080, integerIn(0, 65_535)],
  tcp: ['--tcp <port>', 'TCP port, 0 picks a free one', 11_009, integerIn(0, 65_535)],
  data: ['--data <dir>', 'folder of the slot files', 'data', parsePath],
  head: ['--head <bytes>', 'HEAD_0..HEAD_3 of the frame identity', [0, 0, 0, 0], parseHead],
  protocolVersion: ['--protocol-version <n>', 'protoVersion of the frame identity', 0, integerIn(0, 255)],
  serverVersion: ['--server-version <n>', 'serverVersion of the frame identity', 0, integerIn(0, 0xffffffff)],
  ...numberOptions(LIMIT_OPTIONS, DEFAULT_LIMITS, LIMIT_HELP),
  ...numberOptions(TIME_OPTIONS, TIMES, TIME_HELP),
  maxPerLoopback: [
    '--max-per-loopback <n>',
    'connections of the loopback address: a local proxy, a tool; 0 = the value of --max-connections',
    0,
    integerIn(0, 1_000_000),
  ],
  origins: [
    '--origins <list>',
    'origins whose pages may open a WebSocket: https://game.example,https://*.game.example; default: all',
    '',
    checkedBy(originFilter),
  ],
  basePath: [
    '--base-path <path>',
    'prefix of all paths that a reverse proxy leaves in place, such as /game; default: none',
    '',
    checkedBy((path) => new WebPaths(path)),
  ],
  wsPath: [
    '--ws-path <path>',
    'another path of the WebSocket, in addition to /ws; default: none',
    '',
    checkedBy((path) => new WebPaths('', path)),
  ],
  metricsPort: [
    '--metrics-port <port>',
    'port of /metrics alone, plain HTTP, 0 picks a free one; default: /metrics is on the HTTP port',
    null,
    (text: string): number | null => integerIn(0, 65_535)(text),
  ],
  metricsHost: ['--metrics-host <address>', 'address of that port', '127.0.0.1', parseHost],
  metricsToken: [
    '--metrics-token <text>',
    '/metrics requires "Authorization: Bearer" and this text, at least 16 characters; default: none',
    '',
    parseText,
  ],
  trustProxy: [
    '--trust-proxy <networks>',
    'proxies that may name the client: X-Forwarded-For, Forwarded, PROXY protocol; 10.0.0.0/8,::1; default: none',
    '',
    checkedBy(networkFilter),
  ],
  tlsCert: ['--tls-cert <file>', 'certificate chain (PEM), for TLS on both ports', '', parseText],
  tlsKey: ['--tls-key <file>', 'its private key (PEM)', '', parseText],
  ticketSecret: ['--ticket-secret <text>', 'login tickets: the secret of HS256, at least 32 bytes', '', parseText],
  ticketKeys: ['--ticket-keys <file>', 'login tickets: a JWK set, for example of Ed25519 public keys', '', parseText],
  ticketIssuer: ['--ticket-issuer <text>', 'login tickets: the claim iss', '', parseText],
  ticketAudience: ['--ticket-audience <text>', 'login tickets: the claim aud', '', parseText],
  ticketClockTolerance: [
    '--ticket-clock-tolerance <ms>',
    "login tickets: largest accepted difference of the login server's clock",
    DEFAULT_TOLERANCE_MS,
    integerIn(0, MAX_TOLERANCE_MS),
  ],
  ticketOnce: ['--ticket-once [on]', 'login tickets: each is valid for one login', false, parseFlag],
  secret: [
    '--secret <text>',
    `signs resume tokens, at least ${MIN_SECRET_CHARS} characters; default: generated once in the data folder`,
    '',
    parseSecret,
  ],
  slots: ['--slots <n>', 'number of slot files of a new data folder', 32, integerIn(1, 1_024)],
  mysql: [
    '--mysql <url>',
    'MySQL database: mysql://user:password@host/database, or https:// for PlanetScale',
    '',
    parseText,
  ],
  mysqlPool: ['--mysql-pool <n>', 'number of connections to MySQL', 8, integerIn(1, 256)],
  critical: [
    '--critical [on]',
    'treat every table as critical: an answer is sent after the commit in MySQL',
    false,
    parseFlag,
  ],
  watch: ['--watch [on]', 'restart when a file of the game changes, for development', false, parseFlag],
  log: ['--log <level>', LOG_LEVELS.join(', '), 'warn', parseLogLevel],
} satisfies Record<string, OptionDefinition>

/** The checked options of `serve`. */
export type ServeOptions = { readonly [Key in keyof typeof OPTIONS]: ReturnType<(typeof OPTIONS)[Key][3]> }

function parseSecret(value: string): string {
  if (value.length >= MIN_SECRET_CHARS) return value
  // Without the value, which commander would print: it may be almost correct, and logs are not secret.
  throw new OptionError(`secret has ${value.length} characters, at least ${MIN_SECRET_CHARS} are needed`)
}

function parseFlag(value: string): boolean {
  if (value !== 'true' && value !== 'false') throw new InvalidArgumentError('Not true or false.')
  return value === 'true'
}

function parseLogLevel(value: string): LogLevel {
  const level = LOG_LEVELS.find((name) => name === value)
  if (level === undefined) throw new InvalidArgumentError(`Not one of ${LOG_LEVELS.join(', ')}.`)
  return level
}

/** A command with the options of `serve`; `run` receives them checked. */
export function commandWithServeOptions(
  name: string,
  description: string,
  run: (options: ServeOptions) => Promise<void>,
): Command {
  const command = new Command(name).description(description)
  const config = readConfig()
  for (const definition of Object.values(OPTIONS)) command.addOption(optionOf(definition, config))
  return command.action(run).exitOverride()
}

/** Options of `serve` for another command, also read from the environment and firefly.json, but without a default. */
export function sharedOptions(...flags: readonly string[]): Option[] {
  const config = readConfig()
  const shared = Object.values<OptionDefinition>(OPTIONS).filter(([names]) => flags.includes(names.split(' ')[0]!))
  return shared.map(([names, help, , parse]) => optionOf([names, help, undefined, parse], config))
}

function optionOf(definition: OptionDefinition, config: Record<string, unknown>): Option {
  const [flags, help, defaultValue, parse] = definition
  const option = new Option(flags, help).argParser(parse)
  if (flags.endsWith(']')) option.preset('true')
  option.env(`FIREFLY_${option.name().replaceAll('-', '_').toUpperCase()}`)
  const key = option.attributeName()
  // --help shows the source and not the value, which may be a password.
  return key in config
    ? option.default(configValue(key, config[key], parse), 'firefly.json')
    : option.default(defaultValue)
}

/** Reads firefly.json of the working folder, whose keys are the option names in camelCase. */
function readConfig(): Record<string, unknown> {
  let source: string
  try {
    source = readFileSync('firefly.json', 'utf8')
  } catch {
    return {}
  }
  let config: unknown
  try {
    config = JSON.parse(source)
  } catch (error) {
    throw new OptionError(`firefly.json is not JSON: ${(error as Error).message}`)
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new OptionError('firefly.json must hold an object')
  const known = new Set(['$schema', ...Object.keys(OPTIONS)])
  const unknown = Object.keys(config).find((key) => !known.has(key))
  if (unknown !== undefined) throw new OptionError(`firefly.json: unknown option ${JSON.stringify(unknown)}`)
  return config as Record<string, unknown>
}

function configValue(key: string, value: unknown, parse: (text: string) => unknown): unknown {
  try {
    return parse(Array.isArray(value) ? value.join(',') : String(value))
  } catch (error) {
    if (error instanceof OptionError) throw new OptionError(`firefly.json: ${error.message}`)
    throw new OptionError(`firefly.json: ${key} ${JSON.stringify(value)}: ${(error as Error).message}`)
  }
}
