// The game in memory, without ports and files: `npm test`.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testGame } from 'firefly-game/testing'

import { Hello } from '../contract.ts'
import server from '../server.ts'

test('a player is greeted by name', async () => {
  await using game = await testGame(server)
  const ada = await game.player('ada')
  const hello = ada.open(Hello)
  assert.deepEqual(await hello.call.greet({ name: 'Ada' }), { text: 'Hello, Ada!' })
  await assert.rejects(hello.call.greet({ name: 'a'.repeat(33) }), /name: string of 33 characters exceeds 32/)
})
