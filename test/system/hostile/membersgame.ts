// The same game for members only: who has not logged in reaches the gate and nothing else.

import { firefly } from '../../../core/game/index.ts'
import { gate, yard } from './game.ts'

export default firefly({ yard: yard().players(), gate }, { requireLogin: true })
