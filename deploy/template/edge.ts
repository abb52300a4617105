// The players' door alone, for `wrangler deploy -e edge`: no game in it, so a deploy of the game leaves it alone.

export { default } from 'firefly-game/edge'
