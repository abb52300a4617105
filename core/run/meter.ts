// What the engine counts, as plain numbers: a host publishes them under these names.

export class Meter {
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
}
