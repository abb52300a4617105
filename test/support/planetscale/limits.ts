// All bounds of the endpoint. If PlanetScale documents a limit, it is the default.

export interface EndpointLimits {
  /** Largest request. vtgate's own bound on a message (grpc_max_message_size) is 16 MiB. */
  readonly bodyBytes: number
  /** Largest result in bytes of its values, so that one SELECT cannot use all memory. */
  readonly resultBytes: number
  /** Rows of one result (PlanetScale, "Database limits"). */
  readonly rows: number
  /** From BEGIN to COMMIT (PlanetScale, "Database limits"). */
  readonly transactionMs: number
  /** One statement; PlanetScale's bound for writes. Its SELECTs may take 900 s. */
  readonly statementMs: number
  /** Open transactions, each with its own MySQL connection. */
  readonly transactions: number
  /** MySQL connections besides those of transactions. */
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
