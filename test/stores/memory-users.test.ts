import { test } from 'tap'
import { memoryStore } from '../../stores/memory.js'
import { userStories } from '../helpers/user-stories.js'

userStories({ test, name: 'memory', store: () => memoryStore() })
