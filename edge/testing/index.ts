// The public entry 'firefly-game/testing', for tests of games: a game in memory, with players by name and a clock that the
// test advances. Works with every test runner.

export { testGame } from './testgame.ts'
export type { LogLine, PlayerOptions, TestGame, TestGameOptions, TestMysql } from './testgame.ts'
export type { NextOptions, TestPlayer, TestShard } from './player.ts'
