// What we use of 'msgpackr/index-no-eval' 2.1.3, which has no types of its own.

declare module 'msgpackr/index-no-eval' {
  export interface Options {
    readonly useRecords: false
    readonly mapsAsObjects: true
    readonly structuredClone: false
    readonly copyBuffers: true
    readonly int64AsType: 'auto'
    readonly skipValues?: readonly unknown[]
    readonly encodeUndefinedAsNil?: true
    readonly useToJSON: false
  }
  export class Unpackr {
    constructor(options: Options)
    unpack(body: Uint8Array): unknown
  }
  export class Packr {
    constructor(options: Options)
    /** A view of a buffer that all packers of the process share. */
    pack(value: unknown, mode: number): Uint8Array
  }
  /** The next `pack` writes over the result of this one. */
  export const RESET_BUFFER_MODE: number
  export function addExtension(extension: {
    readonly Class: new (...args: never[]) => unknown
    /** Required with `read`. */
    readonly type?: number
    /** Returns a value that is encoded instead. */
    readonly write: (value: unknown) => unknown
    /** Returns the instance of a decoded value. */
    readonly read?: (stored: unknown) => unknown
  }): void
}
