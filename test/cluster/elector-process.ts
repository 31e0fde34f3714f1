// A process that stands for election, for leader.test.ts to kill and to freeze. It prints a line each time that it
// finds itself leading, and writes into a ConfigMap while it does, as every leader writes: held() asked right before,
// and only on the version it has seen.

import { connectApi } from '../../k8s/connect-api.ts';
import { Elector } from '../../k8s/leader.ts';
import { systemClock } from '../../k8s/monotonic-clock.ts';

const [kubeconfig, namespace, identity, timing] = process.argv.slice(2) as [string, string, string, string];
const { api } = await connectApi({ kubeconfig });
const elector = new Elector({
  api,
  namespace,
  identity,
  timing: JSON.parse(timing),
  clock: systemClock,
  tell: () => {},
  onChange: () => {},
});
elector.start();

// The clock is the machine's, so the lines of several processes compare.
const nowMs = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;

const path = `/api/v1/namespaces/${namespace}/configmaps/work`;

/** One piece of work of a leader. What is refused or not answered is left. */
async function work(): Promise<void> {
  const { metadata } = (await api.get(path)) as { metadata: { resourceVersion: string } };
  if (!elector.held()) return;
  const { resourceVersion } = metadata;
  const data = { term: String(elector.term()), writer: identity, at: String(nowMs()) };
  const body = { metadata: { resourceVersion }, data };
  await api.patch(path, body, 'application/merge-patch+json');
}

let stopping = false;
process.on('SIGTERM', () => {
  stopping = true;
});

async function workOn(): Promise<void> {
  while (!stopping) {
    if (elector.held()) await work().catch(() => {});
    await systemClock.sleep(20);
  }
}

const working = workOn();
while (!stopping) {
  if (elector.held()) process.stdout.write(`${elector.term()} ${nowMs()}\n`);
  await systemClock.sleep(5);
}
await elector.stop();
await working;
await api.close();
