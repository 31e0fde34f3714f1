// How long a fixed address is away when its holder fails: from the failure to the first new connection that reaches an
// origin from that address again, through a firewall that lets nothing else in. `node benchmarks/failover.ts [--runs N]`.
// It needs what the cluster tests need, root, and nftables. Nothing is its peer; the budget is 5 seconds.

import os from 'node:os';
import { parseArgs } from 'node:util';
import { type Failure, failures, startFailoverExperiment } from '../test/cluster/failover/experiment.ts';
import { networkTrouble } from '../test/cluster/failover/network.ts';
import { startCluster } from '../test/support/cluster/cluster.ts';
import { install } from '../test/support/cluster/installation.ts';
import { summarize } from './measure/summary.ts';

const addresses = { IPv4: '10.77.0.100', IPv6: 'fd77::100' };
const timing = { leaseMs: 4_000, renewMs: 1_000 };

const { values } = parseArgs({ options: { runs: { type: 'string', default: '20' } } });
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs takes a number from 1');
const trouble = await networkTrouble();
if (trouble !== null) throw new Error(`failover cannot be measured: ${trouble}`);

interface Row {
  readonly failure: Failure;
  readonly family: string;
  readonly seconds: readonly number[];
}

const conflicts: string[] = [];
let lapses = 0;

async function measure(
  cluster: Awaited<ReturnType<typeof startCluster>>,
  family: 'IPv4' | 'IPv6',
): Promise<Row[]> {
  const experiment = await startFailoverExperiment({ cluster, address: addresses[family], timing });
  try {
    const rows: Row[] = [];
    for (const failure of failures) {
      const seconds: number[] = [];
      for (let run = 0; run < runs; run++) seconds.push((await experiment.fail(failure)) / 1000);
      console.error(`${family}, ${failure}: ${seconds.map(each => each.toFixed(2)).join(' ')}`);
      rows.push({ failure, family, seconds });
    }
    lapses += experiment.lapses();
    conflicts.push(...experiment.conflicts().map(each => `${family}: ${each}`));
    return rows;
  } finally {
    await experiment.close();
  }
}

function print(rows: readonly Row[]): void {
  const cells = rows.map(({ failure, family, seconds }) => {
    const { min, median, max } = summarize([...seconds]);
    return [failure, family, String(seconds.length), ...[min, median, max].map(each => each.toFixed(2))];
  });
  const table = [['holder', 'family', 'runs', 'min s', 'median s', 'max s'], ...cells];
  const widths = table[0]!.map((_, column) => Math.max(...table.map(row => row[column]!.length)));
  for (const row of table) console.log(row.map((text, at) => text.padEnd(widths[at]!)).join('  '));
}

const cluster = await startCluster();
try {
  await install(cluster);
  for (const name of ['node-1', 'node-2']) await cluster.createNode({ name });
  const rows = [...(await measure(cluster, 'IPv4')), ...(await measure(cluster, 'IPv6'))];
  const { leaseMs, renewMs } = timing;
  console.log(`$ node benchmarks/failover.ts --runs ${runs}`);
  console.log(`Linux ${os.release()}, ${os.availableParallelism()} processors, Node ${process.version}`);
  console.log(
    `leaseDuration ${leaseMs} ms, renewInterval ${renewMs} ms, two nodes, a real kube-apiserver and etcd`,
  );
  console.log('From the failure to the first new connection that the origin sees from the address:\n');
  print(rows);
  console.log(
    `\nTwo hosts with the address at once: ${conflicts.length === 0 ? 'never' : conflicts.join('; ')}`,
  );
  console.log(`Lost because the machine was too busy to renew it: ${lapses} times`);
} finally {
  await cluster.stop();
}
process.exitCode = conflicts.length === 0 ? 0 : 1;
