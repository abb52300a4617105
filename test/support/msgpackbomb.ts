// MessagePack bombs that more than one test uses.

/** In hex: 15 arrays, each with two references to the one before. A walk of the decoded value visits 2^15 leaves. */
export function sharedReferences(): string {
  const id = (n: number): string => n.toString(16).padStart(8, '0')
  let hex = '9f'
  for (let n = 1; n <= 15; n++) hex += `d669${id(n)}92${n === 1 ? 'c0c0' : `d670${id(n - 1)}`.repeat(2)}`
  return hex
}
