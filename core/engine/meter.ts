// What the engine counts, as plain numbers: a host publishes them under these names.

export class EngineMeter {
  turns = 0
  events = 0
  refusals = 0
  bugs = 0
  badInputs = 0
  overloads = 0
  commits = 0
  /** Commits whose outcome was failed or unknown. */
  lostCommits = 0
  activations = 0
  evictions = 0
  stepsSkipped = 0
  /** Rows found in memory, and reads of the Store. */
  rowHits = 0
  rowReads = 0
  cacheHits = 0
  cacheLoads = 0
  /** Callers that were told RETRY_LATER, because MySQL had not confirmed in time. */
  retryLaters = 0
  castRetries = 0
  /** Channels whose missed events were not all there any more. */
  resyncs = 0
}
