// How long a reload holds up the loop that live sessions run on: the longest stall while a configuration is read,
// checked, compiled and swapped. `node benchmarks/swap.ts`. It opens no connection; an idle loop is its peer.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Configuration } from '../gateway/configuration.ts';

const header = 'apiVersion: sallyport.dev/v1alpha1\n';
const config = `${header}kind: GatewayConfig\nlisteners: [{name: a, port: 0}]\npolicies: {files: [policies/*.yaml]}\n`;

const rule = (i: number) =>
  `  - {name: r${i}, action: Allow, to: [{host: h${i}.example.com}], ports: [443]}\n`;

/** One policy in one YAML document, the hardest shape: it cannot be read in turns. */
const policy = (rules: number) =>
  `${header}kind: ClusterEgressPolicy\nmetadata: {name: all}\nspec:\n  rules:\n${Array.from({ length: rules }, (_, i) => rule(i)).join('')}`;

/** Longest and 99th percentile pause of the loop in milliseconds while `work` runs. */
async function stalls(work: () => Promise<unknown>): Promise<{ longest: number; p99: number; took: number }> {
  await sleep(300);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const before = performance.now();
  await work();
  const took = performance.now() - before;
  await sleep(50);
  delay.disable();
  return { longest: delay.max / 1e6, p99: delay.percentile(99) / 1e6, took };
}

const folder = await mkdtemp(join(tmpdir(), 'sallyport-swap-'));
try {
  await mkdir(join(folder, 'policies'));
  await writeFile(join(folder, 'gateway.yaml'), config);
  const print = (what: string, { longest, p99, took }: Awaited<ReturnType<typeof stalls>>) =>
    console.log(
      `${what.padEnd(24)} longest stall ${longest.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, in ${took.toFixed(0)} ms`,
    );
  print('idle loop', await stalls(() => sleep(1_000)));
  for (const rules of [10, 1_000, 20_000]) {
    await writeFile(join(folder, 'policies/p.yaml'), policy(rules));
    const { configuration } = await Configuration.start(join(folder, 'gateway.yaml'));
    print(`reload of ${rules} rules`, await stalls(() => configuration.reload()));
  }
} finally {
  await rm(folder, { recursive: true });
}
