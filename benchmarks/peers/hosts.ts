// A hosts file of a peer's own, for proxies that ask the system's resolver and nothing else: the command runs in a
// mount namespace where /etc/hosts is that file. The machine's own file is not touched. It needs root.

import type { BenchPolicy } from './peer.ts';

export const hostsFile = (policy: BenchPolicy) =>
  ['127.0.0.1 localhost', ...policy.allowedNames.map(name => `${policy.address} ${name}`), ''].join('\n');

/** The command under that file; the shell replaces itself, so that the pid is the proxy's. */
export const withHosts = (file: string, command: readonly string[]): string[] => [
  'unshare',
  '--mount',
  '--propagation=private',
  'sh',
  '-c',
  'mount --bind "$0" /etc/hosts && exec "$@"',
  file,
  ...command,
];
