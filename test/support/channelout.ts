// A gateway's side of a channel that ignores every message. Spread it and replace the messages that a test or bench
// reads.

import type { ChannelOut } from '../../core/ports/link.ts'

const ignore = (): void => {}

export const IGNORING_CHANNEL_OUT: ChannelOut = {
  channelOpened: ignore,
  reply: ignore,
  error: ignore,
  event: ignore,
  callsApplied: ignore,
  membershipToken: ignore,
  keyBound: ignore,
  loggedIn: ignore,
  resyncRequired: ignore,
  channelClosed: ignore,
}
