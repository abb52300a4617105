// The edge Worker alone, for `wrangler deploy -e edge`. It has no game code, so a deploy of the game does not change it.

export { default } from 'firefly-game/edge'
