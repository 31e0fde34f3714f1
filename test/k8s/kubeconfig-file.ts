// A kubeconfig in a temporary folder, for a server of a test.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import type { Closable } from '../support/lifetime.ts';

/** @param own closes the folder at the end of the test */
export async function kubeconfigFor(server: URL, own: (resource: Closable) => unknown): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-kubeconfig-'));
  own({ close: () => rm(folder, { recursive: true }) });
  const file = path.join(folder, 'kubeconfig');
  await writeFile(
    file,
    stringify({
      'current-context': 'test',
      clusters: [{ name: 'test', cluster: { server: server.href } }],
      users: [{ name: 'test', user: { token: 'token' } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'egress' } }],
    }),
  );
  return file;
}
