// Loads what a start of the gateway loads, and ends: what Node compiled for it, types stripped, is in its compile cache
// then, and the first start is as fast as those after it. npm runs it after an install. It starts nothing, and a cache
// that cannot be written is no error.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import './cli/commands.ts';
import './cli/serve.ts';
import './serve.ts';

// Whoever imports main.ts runs it, so it is asked for its help, in a process of its own; and only where this file is
// the program: a process that loads every file would start itself again and again.
if (import.meta.main) {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url));
  spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', main, '--help'], { stdio: 'ignore' });
}
