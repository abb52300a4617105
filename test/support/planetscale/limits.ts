// The bounds of the endpoint in one place. Where PlanetScale documents a limit, the default is that one.

export interface EndpointLimits {
  /** Largest request. vtgate's own bound on a message (grpc_max_message_size) is 16 MiB. */
  readonly bodyBytes: number
  /** Largest result in bytes of its values, so that one SELECT cannot take the memory of all. */
  readonly resultBytes: number
  /** Rows of one result (PlanetScale, "Database limits"). */
  readonly rows: number
  /** From BEGIN to COMMIT (PlanetScale, "Database limits"). */
  readonly transactionMs: number
  /** One statement; PlanetScale's bound for writes. Its SELECTs may take 900 s. */
  readonly statementMs: number
  /** Transactions that are open at the same time, each with a MySQL connection of its own. */
  readonly transactions: number
  /** MySQL connections besides those. */
  readonly connections: number
  /** Statements that wait for a connection. */
  readonly waiting: number
  /** HTTP connections. */
  readonly clients: number
}

export const DEFAULT_ENDPOINT_LIMITS: EndpointLimits = {
  bodyBytes: 16 * 1_048_576,
  resultBytes: 64 * 1_048_576,
  rows: 100_000,
  transactionMs: 20_000,
  statementMs: 30_000,
  transactions: 32,
  connections: 16,
  waiting: 1_000,
  clients: 1_000,
}
