// The unread bytes of all connections of a process or a Worker isolate, which share one bound. Above half of it, a connection
// with more than an equal share is paused; above the bound, the largest are closed until an eighth is free; above twice the
// bound nothing is written to a large one. Invariant: a connection is judged in its own poll or write, because a Worker must not
// use the socket of another request.

/** What one connection has unread, as it reported it last. */
export interface UnreadShare {
  bytes: number
  reportedMs: number
  /** To be closed, unless others have read enough before its next report. */
  isSelected: boolean
}

export type UnreadVerdict = 'ok' | 'pause' | 'close'

/** Above this part of the bound, connections are paused. */
const PAUSE_ABOVE = 1 / 2
/** Closing some more at once makes the search for the largest rare. */
const CLOSE_TO = 7 / 8
/** Beyond this multiple of the bound there is no time to let sockets send. */
const WRITE_UP_TO = 2
/** Nothing is paused for fewer bytes, however many connections there are. */
export const MIN_SHARE_BYTES = 4_096
/** A connection that has not reported for so long is gone: the platform may discard a request without an event. */
const GONE_MS = 60_000

export class UnreadBudget {
  readonly maxBytes: number
  readonly #shares = new Set<UnreadShare>()
  #bytes = 0
  #selectedBytes = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** The sum of all reports. */
  get bytes(): number {
    return this.#bytes
  }

  newShare(): UnreadShare {
    return { bytes: 0, reportedMs: 0, isSelected: false }
  }

  /** Reports unread bytes; 0 = nothing, or the connection has closed. */
  report(share: UnreadShare, bytes: number, nowMs: number): void {
    // One that was taken for gone is counted again.
    const countedBytes = this.#shares.has(share) ? share.bytes : 0
    this.#bytes += bytes - countedBytes
    if (share.isSelected) this.#selectedBytes += bytes - countedBytes
    share.bytes = bytes
    share.reportedMs = nowMs
    if (bytes > 0) return void this.#shares.add(share)
    this.#shares.delete(share)
    share.isSelected = false
  }

  /** Reports unread bytes that the socket had time to send, and returns what must happen to their connection. */
  judge(share: UnreadShare, bytes: number, nowMs: number): UnreadVerdict {
    this.report(share, bytes, nowMs)
    if (this.#bytes - this.#selectedBytes > this.maxBytes) this.#selectLargest(nowMs)
    if (share.isSelected) {
      if (this.#bytes > CLOSE_TO * this.maxBytes) return 'close'
      this.#deselect(share)
    }
    const pauseAboveBytes = PAUSE_ABOVE * this.maxBytes
    if (this.#bytes <= pauseAboveBytes) return 'ok'
    return bytes > Math.max(MIN_SHARE_BYTES, pauseAboveBytes / this.#shares.size) ? 'pause' : 'ok'
  }

  /** Returns true when the connection is large and must be closed instead of written to. */
  refusesWrite(share: UnreadShare, bytes: number): boolean {
    if (this.#bytes + bytes <= WRITE_UP_TO * this.maxBytes) return false
    return share.bytes + bytes > Math.max(MIN_SHARE_BYTES, this.maxBytes / (this.#shares.size + 1))
  }

  #selectLargest(nowMs: number): void {
    for (const share of this.#shares) if (nowMs - share.reportedMs > GONE_MS) this.#remove(share)
    if (this.#bytes - this.#selectedBytes <= this.maxBytes) return
    const remaining = [...this.#shares].filter(({ isSelected }) => !isSelected).sort((a, b) => b.bytes - a.bytes)
    for (const share of remaining) {
      if (this.#bytes - this.#selectedBytes <= CLOSE_TO * this.maxBytes) return
      share.isSelected = true
      this.#selectedBytes += share.bytes
    }
  }

  #deselect(share: UnreadShare): void {
    share.isSelected = false
    this.#selectedBytes -= share.bytes
  }

  #remove(share: UnreadShare): void {
    this.#shares.delete(share)
    this.#bytes -= share.bytes
    if (share.isSelected) this.#deselect(share)
  }
}
