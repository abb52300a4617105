// Drill `accidents`: what operators of public game servers meet, one accident at a time, against a real server with
// players at a steady load beside it. One figure per accident: the players' p99 during it, answers lost (0), seconds to
// normal. Exit 1 when a figure has faults.
//
// To add an accident: a file in scenarios/ that exports `accident` (see accident.ts); its name is the file's name.
// It starts its server, and causes the accident inside `drill.play`. Nothing has to be registered.

import { readdirSync } from 'node:fs'

import { printFigure, progress } from '../../support/figure.ts'
import { flag, list, parseDrill, whole } from '../options.ts'
import { AccidentDrill, type Accident } from './accident.ts'

const FOLDER = new URL('scenarios/', import.meta.url)
const PLAYERS = { quick: 16, full: 40 } as const

/** The names of all accidents. */
export const ACCIDENTS: readonly string[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -'.ts'.length))
  .toSorted()

export async function run(args: readonly string[]): Promise<void> {
  const spec = { quick: flag, only: list(ACCIDENTS), players: whole(undefined, { min: 2 }), seed: whole(1) }
  const {
    quick,
    only = ACCIDENTS,
    players = PLAYERS[quick ? 'quick' : 'full'],
    seed,
  } = parseDrill('accidents', spec, args)
  for (const name of only) {
    const { accident } = (await import(new URL(`${name}.ts`, FOLDER).href)) as { readonly accident: Accident }
    progress(`${name}: ${accident.what}`)
    const figure = await new AccidentDrill(name, { quick, players, seed }).run(accident)
    printFigure(figure)
    if (figure.faults.length > 0) process.exitCode = 1
  }
}
