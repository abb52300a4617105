// The page, served at `/` by `npm start` and by `npm run dev`. The contract gives the types of commands and events.

import { connect } from 'firefly-game/client'

import { Hello } from '../contract.ts'

const form = document.querySelector('form')!
const input = document.querySelector('input')!
const status = document.querySelector('[role=status]')!

const game = await connect(new URL('ws', document.baseURI).href.replace('http', 'ws'))
const hello = game.at(Hello)
game.on('state', (state) => (status.textContent = state === 'open' ? '' : state))

async function greet(): Promise<void> {
  try {
    status.textContent = (await hello.greet({ name: input.value })).text
  } catch (error) {
    status.textContent = String(error)
  }
}
form.addEventListener('submit', (event) => {
  event.preventDefault()
  void greet()
})
await greet()
