// What the SDK measures, as one typed union for one hook: a game sends it wherever its own figures go.

export type Metric =
  /** A heartbeat's round trip. */
  | { readonly name: 'rtt'; readonly ms: number }
  /** A call that ended: `outcome` is 'ok', a refusal of the contract or a system code. */
  | {
      readonly name: 'call'
      readonly contract: string
      readonly command: string
      readonly ms: number
      readonly outcome: string
    }
  /** From the loss of the connection until every open channel was answered, and how many attempts it took. */
  | { readonly name: 'reconnect'; readonly ms: number; readonly tries: number }
  /** Events of this shard were lost for good. */
  | { readonly name: 'resync'; readonly contract: string; readonly key: string }
  /** All bytes of this session so far, frames included; told at each heartbeat. */
  | { readonly name: 'bytes'; readonly in: number; readonly out: number }

export type Measure = (metric: Metric) => void
