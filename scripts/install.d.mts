export interface Program {
  readonly files: readonly string[]
  readonly packages: readonly string[]
  readonly usedBy: string
  readonly service?: boolean
}
export const chromium: Program
export const godot: Program
export const haproxy: Program
export const java: Program
export const mariadb: Program
export const netty: Program
export const nginx: Program
export const openssl: Program
export function run(command: string, args: readonly string[], env?: Record<string, string>): void
export function install(programs: readonly Program[], purpose: string, before?: readonly string[] | null): boolean
