// One process of the drill: it is told a seed and answers with the verdict on it.

import type { Task } from './pool.ts'
import { judge } from './verdict.ts'

process.on('message', (task: Task) => {
  void judge(task.seed, task.order, null).then((verdict) => process.send!(verdict))
})
