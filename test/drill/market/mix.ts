// What the players of the market do, and how often, in each drill.

/** What a player does. The chances of one step add up to less than 1; the rest are deposits and transfers. */
export interface Mix {
  /** Repeats an old transaction. */
  readonly repeat: number
  readonly balance: number
  readonly history: number
  /** Sends a request that a rule refuses. */
  readonly invalid: number
  /** Disconnects. */
  readonly leave: number
  /** Sends several requests at once, where the connection allows it. */
  readonly burst: number
  /** Share of deposits among the transactions. */
  readonly deposits: number
  /** Chance of each attempt that its connection breaks within `cutMs`. */
  readonly cut: number
  readonly cutMs: number
  /** Mean pause before a retry. */
  readonly retryMs: number
  /** Old transactions that can be repeated. */
  readonly maxOld: number
  /** Gold in the purse when the player starts; null = unknown. */
  readonly initialGold: number | null
}

export const SIM_MIX: Mix = {
  repeat: 0.06,
  balance: 0.06,
  history: 0.03,
  invalid: 0.02,
  leave: 0.01,
  burst: 0.09,
  deposits: 0.35,
  cut: 0,
  cutMs: 0,
  retryMs: 240,
  maxOld: 50,
  initialGold: null,
}
export const CRASH_MIX: Mix = {
  ...SIM_MIX,
  repeat: 0.03,
  balance: 0.03,
  history: 0.01,
  invalid: 0,
  leave: 0,
  burst: 0,
  cut: 0.003,
  cutMs: 10,
  retryMs: 40,
  maxOld: 500,
  initialGold: 0,
}
export const OUTAGE_MIX: Mix = { ...CRASH_MIX, repeat: 0, balance: 0, history: 0, deposits: 0.5, cut: 0 }
