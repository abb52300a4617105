// `npm run docs`: the API reference, from the comments of the public modules, into dist/api: one page per export of the package.
// API Extractor reads the emitted declarations with its own TypeScript, because TypeScript 7 has no stable API for tools.
// Invariant: what it cannot find a comment for is reported, and fails.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { CompilerState, Extractor, ExtractorConfig } from '@microsoft/api-extractor'
import { type ApiItem, ApiDeclaredItem, ApiDocumentedItem, ApiModel } from '@microsoft/api-extractor-model'

const root = dirname(import.meta.dirname)

interface PublicModule {
  /** As an author imports it. */
  readonly name: string
  /** Its declarations, below dist/package. */
  readonly file: string
}

/**
 * Returns what has no comment: `module: name (file:line)`.
 * @param declarations the output of scripts/build.ts
 */
export function generateApiDocs(declarations: string, out: string): string[] {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  const modules = publicModules()
  const undocumented: string[] = []
  for (const isWorker of [false, true]) {
    const group = modules.filter(({ file }) => file.startsWith('edge/worker/') === isWorker)
    const configs = group.map(({ file }) => configOf(join(declarations, file), isWorker, out))
    const compilerState = CompilerState.create(configs[0]!, {
      additionalEntryPoints: configs.slice(1).map((config) => config.mainEntryPointFilePath),
    })
    for (const [i, config] of configs.entries()) {
      const { name } = group[i]!
      Extractor.invoke(config, {
        compilerState,
        localBuild: true,
        messageCallback: (message) => {
          message.handled = true
          if (message.messageId !== 'ae-undocumented') return
          const where = `${message.sourceFilePath?.replace(`${declarations}/`, '')}:${message.sourceFileLine}`
          undocumented.push(`${name}: ${message.text} (${where})`)
        },
      })
      writeFileSync(join(out, `${pageOf(name)}.md`), renderPage(name, config.apiJsonFilePath))
      rmSync(config.apiJsonFilePath)
    }
  }
  rmSync(join(out, 'report'), { recursive: true })
  const index = modules.map(({ name }) => `- [${name}](${pageOf(name)}.md)`).join('\n')
  writeFileSync(join(out, 'README.md'), `# API reference\n\n${index}\n`)
  return [...new Set(undocumented)]
}

function publicModules(): PublicModule[] {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, string | { readonly types: string }>
  }
  return Object.entries(exports).flatMap(([path, target]) =>
    typeof target === 'string'
      ? []
      : [{ name: path.replace('.', 'firefly-game'), file: target.types.replace('./dist/package/', '') }],
  )
}

function configOf(file: string, isWorker: boolean, out: string): ExtractorConfig {
  const report = join(out, 'report')
  mkdirSync(report, { recursive: true })
  const types = isWorker ? ['@cloudflare/workers-types'] : ['node']
  const lib = ['es2024', 'esnext.disposable', ...(isWorker ? [] : ['dom', 'dom.iterable'])]
  const compilerOptions = { target: 'es2024', module: 'nodenext', lib, types, strict: true, skipLibCheck: true }
  const name = basename(file)
  return ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: file,
      compiler: { overrideTsconfig: { compilerOptions, files: [file] } },
      // The report finds what has no comment; it is not kept.
      apiReport: { enabled: true, reportFolder: report, reportTempFolder: report, reportFileName: name },
      docModel: { enabled: true, apiJsonFilePath: join(out, `${name}.api.json`) },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        extractorMessageReporting: {
          default: { logLevel: 'none' as never },
          'ae-undocumented': { logLevel: 'warning' as never },
        },
        tsdocMessageReporting: { default: { logLevel: 'none' as never } },
        compilerMessageReporting: { default: { logLevel: 'none' as never } },
      },
    },
    configObjectFullPath: join(root, 'api-extractor.json'),
    packageJsonFullPath: join(root, 'package.json'),
  })
}

function pageOf(name: string): string {
  return name.replaceAll('/', '-')
}

/** A heading per export and member, with its declaration and its comment. */
function renderPage(name: string, modelFile: string): string {
  const lines = [`# ${name}`, '']
  const render = (item: ApiItem, level: number): void => {
    if (item instanceof ApiDeclaredItem) {
      const { text } = item.excerpt
      lines.push(`${'#'.repeat(Math.min(level, 6))} ${item.displayName}`, '', '```ts', text.trim(), '```', '')
      if (item instanceof ApiDocumentedItem) lines.push(commentOf(item), '')
    }
    for (const member of item.members) render(member, item instanceof ApiDeclaredItem ? level + 1 : level)
  }
  render(new ApiModel().loadPackage(modelFile), 2)
  return `${lines.join('\n').trimEnd()}\n`
}

/** The text of a JSDoc comment, without its delimiters. */
function commentOf({ tsdocComment }: ApiDocumentedItem): string {
  const text = tsdocComment?.emitAsTsdoc() ?? ''
  const lines = text.split('\n').map((line) => line.replace(/^\s*(\/\*\*|\*\/|\* ?)/, '').replace(/\s*\*\/$/, ''))
  return lines.join('\n').trim()
}

if (import.meta.main) {
  const undocumented = generateApiDocs(join(root, 'dist/package'), join(root, 'dist/api'))
  for (const line of undocumented) process.stderr.write(`${line}\n`)
  process.exitCode = undocumented.length === 0 ? 0 : 1
}
