// Counters of an engine. A host publishes each under the name of its field.

export class EngineMeter {
  turns = 0
  events = 0
  refusals = 0
  bugs = 0
  badInputs = 0
  overloads = 0
  commits = 0
  /** Commits that failed or whose outcome is unknown. */
  lostCommits = 0
  /** Snapshots that could not be encoded or were too large. */
  snapshotsRefused = 0
  activations = 0
  evictions = 0
  stepsSkipped = 0
  /** Rows found in memory, and reads of the Store. */
  rowHits = 0
  rowReads = 0
  cacheHits = 0
  cacheLoads = 0
  /** Calls answered with RETRY_LATER because MySQL had not confirmed in time. */
  retryLaters = 0
  castRetries = 0
  /** Channels that missed events which were not stored any more. */
  resyncs = 0
}
