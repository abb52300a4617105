// The options of `firefly serve`: command line, then FIREFLY_* variables, then firefly.json, then defaults. Each is
// checked where it enters; a bad one is a single clear line.

import { Command, InvalidArgumentError, Option } from 'commander'
import { readFileSync } from 'node:fs'
import { MIN_SECRET_CHARS } from '../core/node/secret.ts'
import type { FrameIdentity } from '../core/wire/frame.ts'
import { DEFAULT_LIMITS, TIMES } from '../core/wire/limits.ts'
import { originFilter } from '../edge/gateway/origin.ts'

export interface ServeOptions {
  readonly app: string
  readonly host: string
  readonly http: number
  readonly tcp: number
  readonly data: string
  readonly head: FrameIdentity['head']
  readonly protocolVersion: number
  readonly serverVersion: number
  readonly maxBody: number
  readonly idle: number
  readonly heartbeat: number
  readonly maxConnections: number
  readonly maxPerAddress: number
  readonly rate: number
  readonly origins: string
  readonly tlsCert: string
  readonly tlsKey: string
  readonly ticketSecret: string
  /** A file. */
  readonly ticketKeys: string
  readonly ticketIssuer: string
  readonly ticketAudience: string
  readonly ticketOnce: boolean
  readonly secret: string
  readonly slots: number
  readonly mysql: string
  readonly mysqlPool: number
  readonly critical: boolean
  readonly log: 'info' | 'warn' | 'error' | 'silent'
}

/** A value that cannot be used; the message is the line to print. */
export class OptionError extends Error {
  override readonly name = 'OptionError'
}

const LOG_LEVELS = ['info', 'warn', 'error', 'silent'] as const

function integerParser(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`Not a whole number from ${min} to ${max}.`)
    }
    return value
  }
}

function parseHead(text: string): FrameIdentity['head'] {
  const bytes = text.split(',').map((part) => (/^\d{1,3}$/.test(part.trim()) ? Number(part) : -1))
  if (bytes.length !== 4 || bytes.some((byte) => byte < 0 || byte > 255)) {
    throw new InvalidArgumentError('Not four numbers from 0 to 255, such as 78,37,38,48.')
  }
  return bytes as unknown as FrameIdentity['head']
}

interface OptionDefinition {
  readonly flags: string
  readonly help: string
  readonly value: unknown
  readonly parse: (text: string) => unknown
}
const parseText = (value: string): string => value

const OPTIONS: readonly OptionDefinition[] = [
  {
    flags: '--app <path>',
    help: 'module of the game, or a folder with server.ts',
    value: 'examples/arena',
    parse: parseText,
  },
  {
    flags: '--host <address>',
    help: 'address to listen on; 0.0.0.0 opens it to the network',
    value: '127.0.0.1',
    parse: parseText,
  },
  {
    flags: '--http <port>',
    help: 'HTTP and WebSocket port, 0 picks a free one',
    value: 8_080,
    parse: integerParser(0, 65_535),
  },
  {
    flags: '--tcp <port>',
    help: 'TCP port, 0 picks a free one',
    value: 11_009,
    parse: integerParser(0, 65_535),
  },
  { flags: '--data <dir>', help: 'folder of the slot files', value: 'data', parse: parseText },
  {
    flags: '--head <bytes>',
    help: 'HEAD_0..HEAD_3 of the frame identity',
    value: [0, 0, 0, 0],
    parse: parseHead,
  },
  {
    flags: '--protocol-version <n>',
    help: 'protoVersion of the frame identity',
    value: 0,
    parse: integerParser(0, 255),
  },
  {
    flags: '--server-version <n>',
    help: 'serverVersion of the frame identity',
    value: 0,
    parse: integerParser(0, 0xffffffff),
  },
  {
    flags: '--max-body <bytes>',
    help: 'largest frame body',
    value: DEFAULT_LIMITS.maxBodyBytes,
    parse: integerParser(1, 67_108_864),
  },
  {
    flags: '--idle <ms>',
    help: 'close connections of old clients, which never ping, that are silent for so long',
    value: TIMES.idleMs,
    parse: integerParser(100, 86_400_000),
  },
  {
    flags: '--heartbeat <ms>',
    help: 'both sides ping so often; 2.5 of them in silence close a connection',
    value: TIMES.heartbeatMs,
    parse: integerParser(100, 3_600_000),
  },
  {
    flags: '--max-connections <n>',
    help: 'players in all',
    value: DEFAULT_LIMITS.maxConnections,
    parse: integerParser(1, 1_000_000),
  },
  {
    flags: '--max-per-address <n>',
    help: 'players of one IPv4 address, or of one /64 of IPv6',
    value: DEFAULT_LIMITS.maxPerAddress,
    parse: integerParser(1, 1_000_000),
  },
  {
    flags: '--rate <cost>',
    help: 'cost of what a session may send in a second',
    value: DEFAULT_LIMITS.maxCostPerSecond,
    parse: integerParser(1, 1_000_000_000),
  },
  {
    flags: '--origins <list>',
    help: 'whose pages may open a WebSocket: https://game.example,https://*.game.example; default: all',
    value: '',
    parse: parseOrigins,
  },
  {
    flags: '--tls-cert <file>',
    help: 'certificate chain (PEM): TLS on both ports',
    value: '',
    parse: parseText,
  },
  { flags: '--tls-key <file>', help: 'its private key (PEM)', value: '', parse: parseText },
  {
    flags: '--ticket-secret <text>',
    help: 'login tickets: the secret of HS256, at least 32 bytes',
    value: '',
    parse: parseText,
  },
  {
    flags: '--ticket-keys <file>',
    help: 'login tickets: a JWK set, of Ed25519 public keys for instance',
    value: '',
    parse: parseText,
  },
  { flags: '--ticket-issuer <text>', help: 'login tickets: the claim iss', value: '', parse: parseText },
  { flags: '--ticket-audience <text>', help: 'login tickets: the claim aud', value: '', parse: parseText },
  {
    flags: '--ticket-once [on]',
    help: 'login tickets: each is good for one login',
    value: false,
    parse: parseFlag,
  },
  {
    flags: '--secret <text>',
    help: `signs resume tokens, at least ${MIN_SECRET_CHARS} characters; default: made once, kept in the data folder`,
    value: '',
    parse: parseSecret,
  },
  {
    flags: '--slots <n>',
    help: 'slot files of a new data folder',
    value: 32,
    parse: integerParser(1, 1_024),
  },
  {
    flags: '--mysql <url>',
    help: 'MySQL behind the data folder: mysql://user:password@host/database, or https:// for PlanetScale',
    value: '',
    parse: parseText,
  },
  {
    flags: '--mysql-pool <n>',
    help: 'connections to MySQL',
    value: 8,
    parse: integerParser(1, 256),
  },
  {
    flags: '--critical [on]',
    help: 'every answer waits until MySQL has what it says',
    value: false,
    parse: parseFlag,
  },
  { flags: '--log <level>', help: LOG_LEVELS.join(', '), value: 'warn', parse: parseLogLevel },
]

function parseOrigins(list: string): string {
  try {
    originFilter(list)
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`)
  }
  return list
}

function parseSecret(value: string): string {
  if (value.length >= MIN_SECRET_CHARS) return value
  // Not the value, as commander would say it: it may be nearly right, and logs are read by many.
  throw new OptionError(`secret has ${value.length} characters, at least ${MIN_SECRET_CHARS} are needed`)
}

function parseFlag(value: string): boolean {
  if (value !== 'true' && value !== 'false') throw new InvalidArgumentError('Not true or false.')
  return value === 'true'
}

function parseLogLevel(value: string): string {
  if (!(LOG_LEVELS as readonly string[]).includes(value))
    throw new InvalidArgumentError(`Not one of ${LOG_LEVELS.join(', ')}.`)
  return value
}

/** The `serve` command; `run` gets checked options. */
export function serveCommand(run: (options: ServeOptions) => Promise<void>): Command {
  const command = new Command('serve').description('serve a game')
  const config = readConfig()
  for (const known of OPTIONS) command.addOption(optionOf(known, config))
  return command.action(run).exitOverride()
}

/** Options of `serve` for another command: from the environment and firefly.json as well, but without a default. */
export function sharedOptions(...flags: readonly string[]): Option[] {
  const config = readConfig()
  const shared = OPTIONS.filter((known) => flags.includes(known.flags.split(' ')[0]!))
  return shared.map((known) => optionOf({ ...known, value: undefined }, config))
}

function optionOf({ flags, help, value, parse }: OptionDefinition, config: Record<string, unknown>): Option {
  const option = new Option(flags, help).argParser(parse)
  if (flags.endsWith(']')) option.preset('true')
  option.env(`FIREFLY_${option.name().replaceAll('-', '_').toUpperCase()}`)
  const key = option.attributeName()
  // --help shows where it comes from and not the value, which may be a password.
  return key in config
    ? option.default(configValue(key, config[key], parse), 'firefly.json')
    : option.default(value)
}

/** firefly.json of the working folder: the same names in camelCase. */
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
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new OptionError('firefly.json must hold an object')
  }
  const known = new Set(['$schema', ...OPTIONS.map(({ flags }) => new Option(flags).attributeName())])
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
