// The process that started this one. A package manager starts a script through a shell that does not forward signals: SIGTERM
// ends package manager and shell, and this process would continue and keep its ports.

const CHECK_MS = 100

/**
 * Runs once when the parent has ended, if the parent does nothing but wait for this process: the shell of `npm start`, `npx`
 * and the like, the launcher, or `serve --watch`.
 */
export function onParentEnded(run: () => unknown): void {
  const { npm_lifecycle_event: script, FIREFLY_LAUNCHER: launcher } = process.env
  if (script === undefined && launcher === undefined) return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    run()
  }, CHECK_MS).unref()
}
