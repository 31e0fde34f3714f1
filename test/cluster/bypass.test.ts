// The Job of `sallyport bypass`, printed and from the chart, before a real API server: taken, and its pod admitted under
// restricted Pod Security. What the probe finds is held by test/gateway/cli/bypass.test.ts.

import test from 'ava';
import { parse } from 'yaml';
import { run } from '../gateway/cli/run.ts';
import type { KubernetesObject } from '../support/cluster/api-client.ts';
import { startCluster, type TestCluster } from '../support/cluster/cluster.ts';
import { renderChart } from '../support/cluster/installation.ts';
import { fileLifetime } from '../support/lifetime.ts';

const life = fileLifetime(test);
let cluster: TestCluster;

test.before(async () => {
  cluster = life.own(await startCluster());
  for (const name of ['team-a', 'team-b'])
    await cluster.createNamespace(name, { 'pod-security.kubernetes.io/enforce': 'restricted' });
});

const image = 'registry.example.com/sallyport:1.2.3';

async function printedJob(): Promise<string> {
  const what = ['--target', 'example.com:443', '--dns', '192.0.2.53:53', '--pod-labels', 'app=web'];
  const argv = ['bypass', '--job', '--namespace', 'team-a', '--image', image, ...what];
  return (await run(argv)).stdout;
}

const renderedJobs = async () =>
  (
    await renderChart(cluster, [
      'bypassProbe.enabled=true',
      'bypassProbe.namespaces={team-a,team-b}',
      'bypassProbe.targets={example.com:443}',
      'bypassProbe.dns={192.0.2.53:53}',
      'bypassProbe.podLabels.app=web',
      'image.repository=registry.example.com/sallyport,image.tag=1.2.3',
    ])
  ).filter(({ kind }) => kind === 'Job') as KubernetesObject[];

/** The pod that the Job's controller would make. */
const admitPod = ({ metadata: { namespace }, spec }: KubernetesObject) =>
  cluster.request('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All`, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'probe', ...spec.template.metadata },
    spec: spec.template.spec,
  });

test('the printed Job is made, and made again', async t => {
  const input = await printedJob();
  for (const time of ['first', 'second']) {
    const made = await cluster.kubectl(['replace', '--force', '--validate=strict', '--filename=-'], {
      input,
    });
    t.is(made.code, 0, `${time}: ${made.stderr}`);
    t.regex(made.stdout, /job\.batch\/sallyport-bypass replaced/);
    t.notRegex(made.stderr, /Warning/);
  }
});

test('restricted Pod Security admits its pod, and those of the chart', async t => {
  const jobs = [parse(await printedJob()) as KubernetesObject, ...(await renderedJobs())];
  t.deepEqual(
    jobs.map(({ metadata }) => metadata.namespace),
    ['team-a', 'team-a', 'team-b'],
  );
  for (const job of jobs) {
    const { status, body } = await admitPod(job);
    t.is(status, 201, JSON.stringify(body));
  }
});

test('the chart makes the same Job as the command', async t => {
  const printed = parse(await printedJob()) as KubernetesObject;
  const [rendered] = await renderedJobs();
  const specOf = ({ spec }: KubernetesObject) => {
    const { imagePullPolicy: _, ...container } = spec.template.spec.containers[0];
    const template = { spec: { ...spec.template.spec, containers: [container] } };
    return { ...spec, template };
  };
  t.deepEqual(specOf(rendered!), specOf(printed));
  const { 'sallyport.dev/inject': inject, app } = rendered!.spec.template.metadata.labels;
  t.deepEqual([inject, app], ['disabled', 'web']);
});
