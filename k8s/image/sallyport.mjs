#!/usr/bin/node --disable-warning=ExperimentalWarning
// The sallyport command in the container image, where there is no shell and where types were stripped at the build.
// It starts gateway/main.ts and decides nothing. In a checkout, gateway/cli/sallyport does.

import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

// Node would strip the types of each .ts file at every start, and load a compiler for it: 27 MB and 0.2 s. A thread
// that does not come through here (loading a configuration aside) finds nothing left to strip, and runs all the same.
registerHooks({
  load(url, context, next) {
    if (!url.endsWith('.ts')) return next(url, context);
    return { format: 'module', source: readFileSync(new URL(url)), shortCircuit: true };
  },
});

// The first process of a container is not ended by a signal that it does not handle, so a command that handles none,
// or does not yet, would stay until the kubelet kills it. Whoever handles it later has it alone.
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
])
  process.on(signal, () => {
    if (process.listenerCount(signal) === 1) process.exit(128 + number);
  });

await import('../../gateway/main.ts');
