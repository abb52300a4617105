// Payloads of the soak: texts and answers that both ends compute from a name and a number, so that a wrong byte, or a
// right one in the wrong place, is detected where it arrives. Portable.

/** The answer of `name` to number `n`. */
export function answerOf(name: string, n: number): number {
  let hash = 0x811c9dc5 ^ n
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}

/** The text of event `i`, of 1..MAX_CHARS characters. */
export function textOf(name: string, i: number, chars: number): string {
  return (answerOf(name, i).toString(36) + FILLER).slice(0, chars)
}

/** The usual text length of event `i`. It varies, so that the frame sizes vary. */
export function charsOf(name: string, i: number): number {
  return 8 + (answerOf(name, i) % 120)
}

export const MAX_CHARS = 4_096
const FILLER = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(Math.ceil(MAX_CHARS / 36))
