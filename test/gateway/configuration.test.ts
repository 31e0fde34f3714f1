// What is in force when several things change at once: nothing that was built earlier comes last. Real files; a cluster
// that only has a policy stands in for Kubernetes.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadGatewayConfig } from '../../config/load.ts';
import { parseAddress } from '../../config/policy/address.ts';
import { Configuration, type PolicySource } from '../../gateway/configuration.ts';

const header = 'apiVersion: sallyport.dev/v1alpha1\n';
const files = {
  'gateway.yaml': `${header}kind: GatewayConfig\nlisteners: [{name: proxy, port: 0}]\npolicies: {files: [policy.yaml]}\n`,
  'policy.yaml': `${header}kind: ClusterEgressPolicy\nmetadata: {name: all}\nspec: {rules: [{name: all, action: Allow, to: [{host: "*"}]}]}\n`,
};

test('a change of the cluster that was being built when the listeners came does not lose them', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-configuration-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const file = join(folder, 'gateway.yaml');
  t.true((await loadGatewayConfig(file)).ok);
  const { configuration } = await Configuration.start(file);
  const policy = { documents: [], ranges: [], problems: [] } as unknown as ReturnType<PolicySource['policy']>;
  const cluster: PolicySource = { policy: () => policy, applied: () => {} };
  await configuration.complete([], cluster);

  const isOwn = () =>
    configuration.holder.current().policy.guard.isOwnListener(parseAddress('192.0.2.1')!, 3128);
  const changed = configuration.clusterChanged();
  // It has begun.
  for (let turn = 0; turn < 2; turn++) await Promise.resolve();
  await configuration.complete([{ address: '192.0.2.1', port: 3128 }], cluster);
  t.true(isOwn());
  await changed;
  t.true(isOwn());
});
