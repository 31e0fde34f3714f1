// The fixed address moves when its holder fails, with a real API server, real kernels and a firewall that lets nothing
// else through: soon enough, and never so that two have it at once.

import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { install } from '../support/cluster/installation.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { failures, startFailoverExperiment } from './failover/experiment.ts';
import { networkTrouble } from './failover/network.ts';

const trouble = await networkTrouble();
if (trouble !== null && process.env.CI) throw new Error(`failover cannot be tested: ${trouble}`);
const notRun = trouble === null ? '' : ` (NOT RUN: ${trouble})`;
const failoverTest = trouble === null ? test.serial : test.serial.skip;

const life = fileLifetime(test);
let cluster: TestCluster;

test.before(async () => {
  if (trouble !== null) return;
  cluster = life.own(await startCluster());
  await install(cluster);
  for (const name of ['node-1', 'node-2']) await cluster.createNode({ name });
});

/** How often each failure happens: with two, the address comes back as well. */
for (const [address, times] of [
  ['10.77.0.100', 2],
  ['fd77::100', 1],
] as const) {
  failoverTest(
    `${address} comes back from the other node, whatever happened to its holder${notRun}`,
    async t => {
      t.timeout(150_000);
      const timing = { leaseMs: 4_000, renewMs: 1_000 };
      const experiment = await startFailoverExperiment({ cluster, address, timing });
      t.teardown(() => experiment.close());
      for (const failure of failures)
        for (let time = 0; time < times; time++)
          t.log(`${failure}: ${Math.round(await experiment.fail(failure))} ms`);
      t.deepEqual(experiment.conflicts(), []);
      t.true(
        experiment.tunnelsClosed.every(reason => reason === 'source-address-lost'),
        String(experiment.tunnelsClosed),
      );
      t.is(experiment.tunnelsClosed.length, 3 * times);
    },
  );
}
