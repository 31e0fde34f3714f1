#!/usr/bin/node --disable-warning=ExperimentalWarning
// The sallyport command in the container image, where there is no shell and where types were stripped at the build:
// gateway/main.ts is gateway/main.js there. It starts that and decides nothing. In a checkout, gateway/cli/sallyport does.

// The first process of a container is not ended by a signal that it does not handle, so a command that handles none,
// or does not yet, would stay until the kubelet kills it. Whoever handles it later has it alone.
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
])
  process.on(signal, () => {
    if (process.listenerCount(signal) === 1) process.exit(128 + number);
  });

await import('../../gateway/main.js');
