// The source text of a game, from the source map of its bundle: what an error line of the log quotes. Held in memory, because
// nothing on the way to the log may wait for a disk.

import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Text by absolute path. */
export type Sources = ReadonlyMap<string, string>

export interface CodePlace {
  /** `/app/server.ts:7:11` */
  readonly at: string
  /** The text of that line. */
  readonly code: string
}

const INLINE_MAP = /\/\/# sourceMappingURL=data:application\/json;base64,([\w+/=]+)\s*$/
/** `at name (/app/server.ts:7:11)`, `at file:///app/server.ts:7:11` */
const FRAME = /^\s+at (?:.*\()?((?:file:\/\/|\/|[A-Za-z]:\\).*?):(\d+):(\d+)\)?$/gm
const MAX_CODE_CHARS = 160

/** The sources of a bundle with an inline source map whose paths are relative to `folder`. */
export function sourcesOf(bundle: string, folder: string): Sources {
  const [, encoded] = INLINE_MAP.exec(bundle) ?? []
  if (encoded === undefined) return new Map()
  const map = JSON.parse(Buffer.from(encoded, 'base64').toString()) as { sources: string[]; sourcesContent: string[] }
  return new Map(map.sources.map((source, i) => [resolve(folder, source), map.sourcesContent[i] ?? '']))
}

/** The first place in the stack of an error, or of what caused it, that is in these sources. */
export function placeOf(error: unknown, sources: Sources): CodePlace | null {
  for (let at = error; at instanceof Error; at = at.cause) {
    for (const [, file, line, column] of (at.stack ?? '').matchAll(FRAME)) {
      const path = file!.startsWith('file:') ? fileURLToPath(file!.replace(/\?.*$/, '')) : file!
      const code = sources.get(path)?.split('\n')[Number(line) - 1]
      if (code !== undefined) return { at: `${path}:${line}:${column}`, code: code.trim().slice(0, MAX_CODE_CHARS) }
    }
  }
  return null
}

/** The first place in these sources where this pattern matches; its line is that of the end of the match. */
export function findPlace(sources: Sources, pattern: RegExp): CodePlace | null {
  for (const [path, text] of sources) {
    const match = pattern.exec(text)
    if (!match) continue
    const before = text.slice(0, match.index + match[0].length).split('\n')
    const code = text.split('\n')[before.length - 1]!
    return { at: `${path}:${before.length}`, code: code.trim().slice(0, MAX_CODE_CHARS) }
  }
  return null
}

/** The import that this error of Node's module loader is about, which has no frame of the game. */
export function placeOfImport(error: unknown, sources: Sources): CodePlace | null {
  if (!(error instanceof Error)) return null
  const [, name] = /does not provide an export named '(.+?)'/.exec(error.message) ?? []
  if (name !== undefined) return findPlace(sources, new RegExp(`\\bimport\\b[^'"]*?${wordPattern(name)}`))
  const [, specifier] = /^Cannot find (?:package|module) '(.+?)'/.exec(error.message) ?? []
  return specifier === undefined
    ? null
    : findPlace(sources, new RegExp(`\\b(?:from|import)\\s*\\(?\\s*['"]${escapePattern(specifier)}['"/]`))
}
const escapePattern = (text: string): string => text.replace(/[^\w\s]/g, '\\$&')
const wordPattern = (word: string): string => `(?<![\\w$])${escapePattern(word)}(?![\\w$])`
