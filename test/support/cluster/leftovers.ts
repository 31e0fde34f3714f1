// Removes temporary folders when this process or worker thread is gone, however it went: a killed test leaves no disk
// full of databases behind. What ends in order removes its folders itself and sooner.

import { spawn } from 'node:child_process';

/**
 * A shell that waits for the end of its standard input, which the kernel closes with us, and then a moment for the
 * servers to die. In a session of its own, so that Ctrl-C in a terminal does not reach it.
 */
export function removeAfterUs(...folders: string[]): void {
  const script = 'cat >/dev/null; sleep 2; rm -rf -- "$@"';
  const shell = spawn('sh', ['-c', script, 'sh', ...folders], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  shell.unref();
  (shell.stdin as unknown as { unref(): void }).unref();
}
