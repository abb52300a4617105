// What is on the way in the soak: words and answers that both ends can work out from a name and a number. So a wrong
// byte, or a right one in the wrong place, is seen where it arrives.

/** An answer to number `n` by whom. */
export function answerOf(name: string, n: number): number {
  let hash = 0x811c9dc5 ^ n
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}

/** The text of event `i`, so many characters (1..MAX_CHARS) long. */
export function textOf(name: string, i: number, chars: number): string {
  const word = answerOf(name, i).toString(36)
  return (word + FILLING).slice(0, chars)
}

/** Of most events; they differ, so that frames do. */
export function charsOf(name: string, i: number): number {
  return 8 + (answerOf(name, i) % 120)
}

export const MAX_CHARS = 4_096
const FILLING = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(Math.ceil(MAX_CHARS / 36))
