// What a flooder may do: frames of an old client, PINGs, channels opened and closed.

export const FLOOD_KINDS = ['legacy', 'ping', 'channel'] as const
export type FloodKind = (typeof FLOOD_KINDS)[number]
