// The signals of `firefly serve`, from before the start. SIGTERM and SIGINT drain and exit 0, a second one exits
// immediately; the end of `npm start` drains too; SIGHUP reloads the certificate. Invariant: no other signal that operators send by mistake ends the server.

import { onParentEnded } from './parent.ts'
import type { RunningServer } from '../edge/node/server.ts'

export class SignalHandler {
  #server: RunningServer | null = null
  #isDraining = false

  constructor() {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#drain())
    onParentEnded(() => this.#isDraining || this.#drain())
    process.on('SIGHUP', () => this.#reload())
    // A log rotation may send it; its default is to kill.
    process.on('SIGUSR2', () => this.#server?.host.log.info('SIGUSR2 has no function'))
  }

  /** The server is ready; until then there is nothing to drain. */
  attach(server: RunningServer): void {
    this.#server = server
  }

  #drain(): void {
    if (this.#server === null) process.exit(0)
    if (this.#isDraining) process.exit(1)
    this.#isDraining = true
    this.#server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(`firefly: the drain failed: ${String(error)}`)
        process.exit(1)
      },
    )
  }

  /** An operator sends SIGHUP after renewing the certificate, but also a terminal that is closed. */
  #reload(): void {
    if (this.#server === null) return
    const { log } = this.#server.host
    if (!this.#server.hasTls) return log.info('SIGHUP: there is no certificate to reload')
    try {
      this.#server.reloadTls()
      log.info('certificate and key were reloaded')
    } catch (error) {
      const { message } = error as Error
      log.error('certificate and key could not be reloaded; the old ones stay in use', { error: message })
    }
  }
}
