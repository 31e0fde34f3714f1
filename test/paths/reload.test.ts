// Policies that change while the gateway runs: a good edit is in force whole, a bad one changes nothing and is told.
// Sessions that are open when policy changes are decided again.

import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { startDnsServer } from '../support/dns-server.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { basic, connect, get } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { clusterPolicy, htpasswd } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf, recordsOf } from '../support/records.ts';
import { socksConnect } from '../support/socks-client.ts';
import { echoOrigin, type Origin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const allow = (...cidrs: string[]) => [
  clusterPolicy({
    name: 'edited',
    rules: [{ name: 'these', action: 'Allow', to: cidrs.map(cidr => ({ cidr })) }],
  }),
];

const start = async (t: ExecutionContext, options = {}) =>
  during(t, await startGateway({ policies: allow('127.0.0.1/32', '127.0.0.2/32'), ...options }));

const status = async (t: ExecutionContext, gateway: Gateway, origin: Origin) => {
  const client = await connectRaw(t, { port: gateway.proxy });
  const response = await connect(client, origin.authority);
  await client.close();
  return response.status;
};

const generation = async (gateway: Gateway) => (await gateway.metrics()).get('sallyport_config_generation');
const inForce = (gateway: Gateway, wanted: number) =>
  eventually(
    async () => (await generation(gateway)) === wanted || undefined,
    `generation ${wanted}`,
    gateway.stderr,
  );
const readyz = async (gateway: Gateway) => {
  const response = await fetch(`http://127.0.0.1:${gateway.admin}/readyz`);
  return { status: response.status, body: await response.text() };
};

test('an edited policy file is in force for the next session, without a signal', async t => {
  const gateway = await start(t);
  const origin = during(t, await echoOrigin('127.0.0.2'));
  t.is(await status(t, gateway, origin), 200);
  await gateway.writePolicies(allow('127.0.0.1/32'));
  await inForce(gateway, 2);
  t.is(await status(t, gateway, origin), 403);
  const generations = () => gateway.records().map(record => record.decision?.generation);
  await eventually(() => generations().length === 2 || undefined, 'both records');
  t.deepEqual(generations(), [1, 2]);
});

test('SIGHUP reads everything again', async t => {
  const gateway = await start(t);
  const origin = during(t, await echoOrigin('127.0.0.3'));
  t.is(await status(t, gateway, origin), 403);
  await gateway.writePolicies(allow('127.0.0.3/32'));
  gateway.signal('SIGHUP');
  await eventually(async () => (await status(t, gateway, origin)) === 200 || undefined, 'the new policy');
});

test('open sessions are decided again: what is no longer allowed is cut, with that as the reason', async t => {
  const gateway = await start(t);
  const kept = during(t, await echoOrigin('127.0.0.1'));
  const dropped = during(t, await echoOrigin('127.0.0.2'));
  const [stays, goes, goesBySocks] = await Promise.all([
    connectRaw(t, { port: gateway.proxy }),
    connectRaw(t, { port: gateway.proxy }),
    connectRaw(t, { port: gateway.socks }),
  ]);
  await connect(stays, kept.authority);
  await connect(goes, dropped.authority);
  await socksConnect(goesBySocks, dropped.address, dropped.port);

  await gateway.writePolicies(allow('127.0.0.1/32'));
  for (const client of [goes, goesBySocks]) {
    t.is(await client.ending(), 'reset', 'a cut tunnel must not look like a finished one');
    t.is((await recordOf(gateway, client)).close.reason, 'policy-changed');
  }
  await eventually(() => dropped.open.size === 0 || undefined, 'the destination to be let go');
  t.is((await stays.send('still here').read(10)).toString(), 'still here');
});

test('a plain request under way is cut too', async t => {
  const gateway = await start(t);
  const origin = during(t, await httpOrigin('127.0.0.2'));
  const client = await connectRaw(t, { port: gateway.proxy });
  client.send(`GET ${origin.url('/never-ends')} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`);
  await client.readUntil('begun');
  await gateway.writePolicies(allow('127.0.0.1/32'));
  await client.ending();
  t.is((await recordOf(gateway, client)).close.reason, 'policy-changed');
});

test('a kept connection to an origin is not a way around the new policy', async t => {
  const gateway = await start(t);
  const origin = during(t, await httpOrigin('127.0.0.2'));
  const client = await connectRaw(t, { port: gateway.proxy });
  t.is((await get(client, origin.url('/before'))).status, 200);
  await gateway.writePolicies(allow('127.0.0.1/32'));
  await inForce(gateway, 2);
  t.is((await get(client, origin.url('/after'))).status, 403);
  await recordsOf(gateway, client.local, 2);
});

const mistakes: [string, string][] = [
  ['YAML that does not parse', 'apiVersion: [unclosed'],
  [
    'an unknown key',
    'apiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: x}\nspec: {teir: Admin}\n',
  ],
  ['a bad CIDR', allowText('127.0.0.1/33')],
];

function allowText(cidr: string): string {
  return `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: x}
spec:
  tier: Admin
  priority: 1
  subject: {clients: {cidrs: [127.0.0.0/8]}}
  rules: [{name: r, action: Allow, to: [{cidr: ${cidr}}]}]
`;
}

for (const [what, text] of mistakes) {
  test(`a bad edit keeps the old policy and says so: ${what}`, async t => {
    const gateway = await start(t);
    const origin = during(t, await echoOrigin('127.0.0.1'));
    const tunnel = await connectRaw(t, { port: gateway.proxy });
    await connect(tunnel, origin.authority);

    await gateway.writePolicies(text);
    const message = await gateway.waitForMessage(each => /refused/.test(each.msg ?? ''));
    t.truthy(message);
    // The problem is a line of its own, and may come later.
    await gateway.waitForMessage(each => /test\.yaml:/.test(each.msg ?? ''));
    t.regex(gateway.stderr(), /test\.yaml:\d+:\d+/, 'with file, line and column');
    const metrics = await gateway.metrics();
    t.is(metrics.get('sallyport_config_stale'), 1);
    t.is(metrics.get('sallyport_config_generation'), 1);
    const ready = await readyz(gateway);
    t.is(ready.status, 200, 'it serves on');
    t.regex(ready.body, /test\.yaml/, 'and the body says what is wrong');
    t.is(await status(t, gateway, origin), 200);
    t.is((await tunnel.send('alive').read(5)).toString(), 'alive');

    await gateway.writePolicies(allow('127.0.0.1/32'));
    await eventually(
      async () => (await gateway.metrics()).get('sallyport_config_stale') === 0 || undefined,
      'the good edit',
    );
  });
}

test('limits and DNS servers of the configuration are swapped with the policies', async t => {
  const dns = during(t, await startDnsServer());
  dns.set('swapped.test', { a: ['127.0.0.1'] });
  const origin = during(t, await echoOrigin());
  const policies = [
    clusterPolicy({
      name: 'names',
      rules: [{ name: 'test', action: 'Allow', to: [{ host: '*.test' }], resolvesTo: ['127.0.0.0/8'] }],
    }),
  ];
  const gateway = await start(t, {
    policies,
    dns: '127.0.0.1:9',
    config: { limits: { resolveTimeout: '300ms' } },
  });
  const authority = `swapped.test:${origin.port}`;
  t.not((await connect(await connectRaw(t, { port: gateway.proxy }), authority)).status, 200);
  await gateway.writeConfig({ dns: { servers: [dns.server] } });
  await inForce(gateway, 2);
  t.is((await connect(await connectRaw(t, { port: gateway.proxy }), authority)).status, 200);
});

test('a user who is removed loses the open tunnel', async t => {
  const policies = [
    clusterPolicy({
      name: 'users',
      clients: { users: ['alice', 'bob'] },
      rules: [{ name: 'all', action: 'Allow', to: [{ cidr: '127.0.0.0/8' }] }],
    }),
  ];
  const gateway = await start(t, { policies, users: await htpasswd({ alice: 'a', bob: 'b' }) });
  const origin = during(t, await echoOrigin());
  const open = async (user: string, password: string) => {
    const client = await connectRaw(t, { port: gateway.proxy });
    t.is((await connect(client, origin.authority, basic(user, password))).status, 200);
    return client;
  };
  const [alice, bob] = [await open('alice', 'a'), await open('bob', 'b')];
  const bobsLine = (await htpasswd({ bob: 'other' })).trim();
  const file = path.join(gateway.folder, 'users.htpasswd');
  const alicesLine = (await readFile(file, 'utf8')).split('\n').find(line => line.startsWith('alice'))!;
  await writeFile(file, `${alicesLine}\n${bobsLine}\n`);
  t.is(await bob.ending(), 'reset');
  t.is((await recordOf(gateway, bob)).close.reason, 'policy-changed');
  t.is((await alice.send('alice').read(5)).toString(), 'alice');
});

test('a rule that expires while its name is looked up does not let the tunnel open', async t => {
  const dns = during(t, await startDnsServer());
  const config = { limits: { resolveTimeout: '30s' } };
  const gateway = await start(t, { dns: dns.server, policies: [], config });
  const origin = during(t, await echoOrigin());
  const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>();
  dns.set('slow.test', async () => {
    await mayAnswer;
    return { a: ['127.0.0.1'] };
  });
  const expiresAtMs = Date.now() + 12_000;
  const rule = {
    name: 'soon',
    action: 'Allow' as const,
    to: [{ host: 'slow.test' }],
    resolvesTo: ['127.0.0.0/8'],
    expiresAt: new Date(expiresAtMs).toISOString(),
  };
  await gateway.writePolicies([clusterPolicy({ name: 'expiring', rules: [rule] })]);
  await inForce(gateway, 2);
  const client = await connectRaw(t, { port: gateway.proxy });
  const asked = connect(client, `slow.test:${origin.port}`);
  await eventually(() => dns.queries('slow.test', 'A') > 0 || undefined, 'the look-up');
  t.true(Date.now() < expiresAtMs, 'the rule still held when the tunnel was asked for');
  // Past the sweep, too, which looks at open sessions alone.
  await sleep(expiresAtMs + 2_000 - Date.now());
  answer();
  t.is((await asked).status, 403);
  t.is((await recordOf(gateway, client)).close.reason, 'policy-changed');
});

for (const threads of [1, 2])
  for (const [what, after] of [
    ['loses its label', [{ role: 'other' }]],
    ['goes', []],
  ] as const)
    test(`threads ${threads}: open tunnels of a Workload of the files end when it ${what}`, async t => {
      const workload = (labels: object) => ({
        apiVersion: 'sallyport.dev/v1alpha1',
        kind: 'Workload',
        metadata: { namespace: 'a', name: 'web', labels },
        spec: { addresses: ['127.52.0.1'] },
      });
      const trusting = {
        apiVersion: 'sallyport.dev/v1alpha1',
        kind: 'ClusterEgressPolicy',
        metadata: { name: 'trusting' },
        spec: {
          tier: 'Admin',
          priority: 100,
          subject: { podSelector: { matchLabels: { role: 'trusted' } } },
          rules: [{ name: 'all', action: 'Allow', to: [{ cidr: '127.0.0.1/32' }] }],
        },
      };
      const policies = [trusting, workload({ role: 'trusted' })];
      const gateway = await start(t, { policies, config: { threads } });
      const origin = during(t, await echoOrigin());
      const client = await connectRaw(t, { port: gateway.proxy, from: '127.52.0.1' });
      t.is((await connect(client, origin.authority)).status, 200);
      await gateway.writePolicies([trusting, ...after.map(workload)]);
      t.is((await recordOf(gateway, client)).close.reason, 'policy-changed');
    });

test('an open tunnel ends when the rule that allowed it expires, and one that another rule allows goes on', async t => {
  const gateway = await start(t);
  // Far enough for the swap and two tunnels on a busy machine.
  const soon = new Date(Date.now() + 20_000).toISOString();
  const rules = [
    { name: 'soon', action: 'Allow' as const, to: [{ cidr: '127.0.0.1/32' }], expiresAt: soon },
    { name: 'ever', action: 'Allow' as const, to: [{ cidr: '127.0.0.2/32' }] },
  ];
  await gateway.writePolicies([clusterPolicy({ name: 'expiring', rules })]);
  await inForce(gateway, 2);
  const [brief, lasting] = [
    during(t, await echoOrigin('127.0.0.1')),
    during(t, await echoOrigin('127.0.0.2')),
  ];
  const [cut, kept] = [
    await connectRaw(t, { port: gateway.proxy }),
    await connectRaw(t, { port: gateway.proxy }),
  ];
  t.is((await connect(cut, brief.authority)).status, 200);
  t.is((await connect(kept, lasting.authority)).status, 200);
  t.is((await recordOf(gateway, cut)).close.reason, 'policy-changed');
  t.is((await kept.send('still').read(5)).toString(), 'still');
  t.is(await status(t, gateway, brief), 403);
});
