// What a flooder may do: frames of an old client, PINGs, channels opened and closed.

export const KINDS = ['legacy', 'ping', 'channel'] as const
export type Kind = (typeof KINDS)[number]
