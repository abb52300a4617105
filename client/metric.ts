// The SDK's measurements, as one typed union for one hook, which a game connects to its own metrics.

export type Metric =
  /** The round-trip time of a heartbeat. */
  | { readonly name: 'rtt'; readonly ms: number }
  /** A completed call: `outcome` is 'ok', a refusal of the contract or a system code. */
  | {
      readonly name: 'call'
      readonly contract: string
      readonly command: string
      readonly ms: number
      readonly outcome: string
    }
  /** Time from the loss of the connection until every open channel was answered, and the number of attempts. */
  | { readonly name: 'reconnect'; readonly ms: number; readonly tries: number }
  /** Events of this shard are lost. */
  | { readonly name: 'resync'; readonly contract: string; readonly key: string }
  /** All bytes of this session so far, frame headers included; reported at each heartbeat. */
  | { readonly name: 'bytes'; readonly in: number; readonly out: number }

export type Measure = (metric: Metric) => void
