// Runs commands in sequence with one line of progress each, and stops at the first failure.

import { spawn } from 'node:child_process'

export interface CommandStep {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** Shows the output also when the command succeeds. */
  readonly showOutput?: boolean
}

/** When a step fails, prints its output and exits the process with 1. */
export async function runSteps(steps: readonly CommandStep[]): Promise<void> {
  for (const [index, step] of steps.entries()) {
    const started = performance.now()
    process.stderr.write(`[${index + 1}/${steps.length}] ${step.name} … ${step.showOutput ? '\n' : ''}`)
    const { code, output } = await run(step)
    const seconds = ((performance.now() - started) / 1_000).toFixed(1)
    if (code !== 0) {
      process.stderr.write(`failed after ${seconds} s\n${output}\n$ ${step.command} ${step.args.join(' ')}\n`)
      process.exit(1)
    }
    process.stderr.write(`${step.showOutput ? `${step.name}: ` : ''}ok, ${seconds} s\n`)
  }
}

function run(step: CommandStep): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' }
    const child = spawn(step.command, step.args, { stdio: step.showOutput ? 'inherit' : 'pipe', env })
    let output = ''
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', (error) => resolve({ code: 1, output: error.message }))
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}
