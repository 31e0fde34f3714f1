// `sallyport bypass` on real sockets: what is open, what is closed and how, what could not be tried, and its exit codes.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { startDnsServer } from '../../support/dns-server.ts';
import { startGateway } from '../../support/gateway.ts';
import { during } from '../../support/lifetime.ts';
import { hasNamespaces, runInNamespace } from '../../support/network-namespace.ts';
import { blackHole, echoOrigin, refusingPort, tcpOrigin } from '../../support/tcp-origins.ts';
import { eventually } from '../../support/waiting.ts';
import { run } from './run.ts';

interface Finding {
  target: string;
  by: string;
  verdict: string;
  attempts: { to: string; ending: string; error: string | null }[];
  note: string | null;
  proxy?: { status?: number; reason?: string; error?: string };
}

const root = path.resolve(import.meta.dirname, '../../..');

const bypass = (...argv: string[]) => run(['bypass', ...argv]);

async function findings(...argv: string[]): Promise<{ code: number; closed: boolean; findings: Finding[] }> {
  const { code, stdout } = await bypass(...argv, '--output', 'json');
  return { code, ...JSON.parse(stdout) };
}

const endingsOf = ({ attempts }: Finding) => attempts.map(({ ending }) => ending);

test('a target that can be connected to is a way out, and is sent nothing', async t => {
  let received = 0;
  const origin = during(
    t,
    await tcpOrigin(socket => {
      socket.on('data', bytes => {
        received += bytes.length;
      });
      socket.on('end', () => socket.end());
    }),
  );
  const { code, closed, findings: found } = await findings('--target', origin.authority);
  t.deepEqual([code, closed], [1, false]);
  t.like(found[0], { target: origin.authority, by: 'tcp', verdict: 'open', note: null });
  t.deepEqual(found[0]!.attempts, [{ to: origin.authority, ending: 'connected', error: null }]);
  t.deepEqual([origin.peers.length, received], [1, 0]);
});

test('closed is told apart: refused, with what that may mean, and timeout', async t => {
  const refusing = `127.0.0.1:${await refusingPort()}`;
  const silent = during(t, await blackHole());
  const { code, findings: found } = await findings(
    '--target',
    refusing,
    `127.0.0.1:${silent.port}`,
    '--timeout',
    '500ms',
  );
  t.is(code, 0);
  t.deepEqual(found.map(endingsOf), [['refused'], ['timeout']]);
  t.deepEqual(
    found.map(({ verdict }) => verdict),
    ['closed', 'closed'],
  );
  t.regex(found[0]!.note!, /by the target itself: then the way is open/);
  t.is(found[1]!.note, null);
});

test('one open way among closed ones is enough', async t => {
  const origin = during(t, await echoOrigin());
  const refusing = `127.0.0.1:${await refusingPort()}`;
  const { code, stdout } = await bypass('--target', refusing, origin.authority);
  t.is(code, 1);
  t.regex(stdout, /a way out without the gateway is open: 1 of 2\n$/);
});

test('every address of a name is tried: one that is open is a way out', async t => {
  const origin = during(t, await echoOrigin('127.0.0.1'));
  const { code, findings: found } = await findings('--target', `localhost:${origin.port}`);
  t.is(code, 1);
  t.is(found[0]!.verdict, 'open');
  t.true(found[0]!.attempts.some(({ to, ending }) => to === origin.authority && ending === 'connected'));
});

test('a name that is not found proves nothing, and says so', async t => {
  const { code, findings: found } = await findings('--target', 'nowhere.invalid:443');
  t.is(code, 1);
  t.like(found[0], { verdict: 'untried', attempts: [] });
  t.regex(found[0]!.note!, /the name was not found \(\w+\): try an address/);
});

test('proxy variables change nothing', async t => {
  const origin = during(t, await echoOrigin());
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy'];
  const variables = Object.fromEntries(names.map(name => [name, 'http://127.0.0.1:9']));
  const env = { ...process.env, ...variables, NODE_USE_ENV_PROXY: '1' };
  const program = ['--disable-warning=ExperimentalWarning', 'gateway/main.ts', 'bypass'];
  const argv = ['--target', origin.authority, '--proxy', `http://${origin.authority}`, '--timeout', '2s'];
  const child = spawn(process.execPath, [...program, ...argv], { cwd: root, env, stdio: 'ignore' });
  const [code] = await once(child, 'exit');
  t.is(code, 1);
  t.is(origin.peers.length, 2, 'the direct way and the proxy that was named');
});

async function silentResolver(t: ExecutionContext) {
  const socket = createSocket('udp4');
  let queries = 0;
  socket.on('message', () => {
    queries += 1;
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  return { authority: `127.0.0.1:${(socket.address() as AddressInfo).port}`, queries: () => queries };
}

test('DNS: any answer is a way out; silence is asked again before it counts', async t => {
  const answering = during(t, await startDnsServer());
  const silent = await silentResolver(t);
  const refusing = `127.0.0.1:${await refusingPort()}`;
  const argv = ['--dns', answering.server, silent.authority, refusing, '--timeout', '900ms'];
  const { code, findings: found } = await findings(...argv);
  t.is(code, 1);
  t.deepEqual(
    found.map(({ by, verdict, attempts }) => [by, verdict, attempts[0]!.ending]),
    [
      ['dns', 'open', 'connected'],
      ['dns', 'closed', 'timeout'],
      ['dns', 'closed', 'refused'],
    ],
  );
  await eventually(() => silent.queries() === 3 || undefined, 'three queries');
  t.is((await findings('--dns', silent.authority, '--timeout', '300ms')).code, 0);
});

test('an answer to something else does not count', async t => {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.on('message', (query, { port, address }) => {
    const other = Buffer.from(query);
    other.writeUInt16BE((query.readUInt16BE(0) + 1) % 65_536, 0);
    socket.send(other, port, address);
    socket.send(query.subarray(0, 4), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const resolver = `127.0.0.1:${socket.address().port}`;
  const { findings: found } = await findings('--dns', resolver, '--timeout', '300ms');
  t.deepEqual(endingsOf(found[0]!), ['timeout']);
});

test('through the proxy: its answer beside the direct way, and a refusal that is explained by it', async t => {
  const origin = during(t, await echoOrigin('127.0.0.7'));
  const gateway = during(
    t,
    await startGateway({
      policies: [
        {
          apiVersion: 'sallyport.dev/v1alpha1',
          kind: 'ClusterEgressPolicy',
          metadata: { name: 'origin' },
          spec: {
            tier: 'Admin',
            priority: 1,
            rules: [{ name: 'o', action: 'Allow', to: [{ cidr: '127.0.0.7/32' }], ports: [origin.port] }],
          },
        },
      ],
    }),
  );
  const closed = `127.0.0.1:${await refusingPort()}`;
  const proxy = `http://127.0.0.1:${gateway.proxy}`;
  const { findings: found } = await findings('--target', origin.authority, closed, '--proxy', proxy);
  t.deepEqual(
    found.map(({ verdict, proxy: answer }) => [verdict, answer?.status]),
    [
      ['open', 200],
      ['closed', 403],
    ],
  );
  const text = await bypass('--target', closed, '--proxy', proxy);
  t.regex(text.stdout, new RegExp(`through 127\\.0\\.0\\.1:${gateway.proxy}:\n  ${closed}  403 \\S`));
});

/** A proxy of one answer, which keeps what it was asked. */
async function answering(t: ExecutionContext, answer: string) {
  const asked: string[] = [];
  const origin = during(
    t,
    await tcpOrigin(socket =>
      socket.once('data', bytes => {
        asked.push(bytes.toString('latin1'));
        socket.end(answer);
      }),
    ),
  );
  return { asked, url: (userinfo = '') => `http://${userinfo}${origin.authority}` };
}

test('a target that listens, as the proxy shows, was refused by a rule', async t => {
  const proxy = await answering(t, 'HTTP/1.1 200 Connection established\r\n\r\n');
  const target = `127.0.0.1:${await refusingPort()}`;
  const { code, findings: found } = await findings('--target', target, '--proxy', proxy.url());
  t.is(code, 0);
  t.like(found[0], { verdict: 'closed', note: null, proxy: { status: 200 } });
});

test('user and password of the proxy go to the proxy and nowhere else', async t => {
  const proxy = await answering(t, 'HTTP/1.1 407 No\r\n\r\n');
  const target = `127.0.0.1:${await refusingPort()}`;
  for (const output of ['text', 'json']) {
    const { stdout, stderr } = await bypass(
      '--target',
      target,
      '--proxy',
      proxy.url('al%3Aice:s%20cret@'),
      '--output',
      output,
    );
    t.notRegex(stdout + stderr, /ice|cret/);
  }
  const sent = `Proxy-Authorization: Basic ${Buffer.from('al:ice:s cret').toString('base64')}`;
  t.true(proxy.asked[0]!.toLowerCase().includes(sent.toLowerCase()), proxy.asked[0]);
  t.true(proxy.asked[0]!.startsWith(`CONNECT ${target} HTTP/1.1\r\n`));
});

test('a proxy that says nothing, or nonsense, is told as that', async t => {
  const target = `127.0.0.1:${await refusingPort()}`;
  const ask = async (proxy: string) =>
    (await findings('--target', target, '--proxy', proxy, '--timeout', '500ms')).findings[0]!.proxy;
  t.deepEqual(await ask(`http://127.0.0.1:${await refusingPort()}`), { error: 'ECONNREFUSED' });
  t.deepEqual(await ask(`http://127.0.0.1:${during(t, await blackHole()).port}`), { error: 'timeout' });
  t.truthy((await ask((await answering(t, 'nonsense\r\n\r\n')).url()))!.error);
  t.truthy((await ask((await answering(t, '')).url()))!.error);
});

test('routes that refuse: prohibited and unreachable are told apart', async t => {
  if (!(await hasNamespaces(t))) return;
  const program = import.meta.resolve('./bypass-in-namespace.ts');
  const { closed, findings: found } = await runInNamespace<{ closed: boolean; findings: Finding[] }>(
    program,
    {
      from: 32_768,
      to: 60_999,
    },
  );
  t.true(closed);
  t.deepEqual(
    found.map(({ target, attempts }) => `${target} ${attempts[0]!.ending}`),
    [
      '198.51.100.1:443 prohibited',
      '203.0.113.1:443 unreachable',
      '192.0.2.1:443 unreachable',
      '[2001:db8::1]:443 unreachable',
      '192.0.2.1:53 unreachable',
    ],
  );
});

test('as a Job it asks the same, by the rules of restricted Pod Security', async t => {
  const { code, stdout } = await bypass(
    '--job',
    '--namespace',
    'team-a',
    '--image',
    'registry.example.com/sallyport:1',
    '--target',
    'api.example.com:443',
    '[2001:db8::1]:443',
    '--dns',
    '192.0.2.53',
    '--proxy',
    'http://sallyport.sallyport.svc:3128',
    '--timeout',
    '2s',
    '--pod-labels',
    'app=web',
  );
  t.is(code, 0);
  const job = parse(stdout);
  t.like(job, { kind: 'Job', metadata: { name: 'sallyport-bypass', namespace: 'team-a' } });
  t.like(job.spec, { backoffLimit: 0, ttlSecondsAfterFinished: 3600 });
  t.like(job.spec.template.metadata.labels, { app: 'web', 'sallyport.dev/inject': 'disabled' });
  t.deepEqual(job.spec.template.spec.containers[0].args, [
    'bypass',
    '--target=api.example.com:443',
    '--target=[2001:db8::1]:443',
    '--dns=192.0.2.53:53',
    '--proxy=http://sallyport.sallyport.svc:3128',
    '--timeout=2s',
  ]);
});

const target = ['--target', '127.0.0.1:1'];
for (const [what, argv, message] of [
  ['no target', [], /no target given/],
  ['an operand', ['127.0.0.1:1'], /no operands wanted, got "127\.0\.0\.1:1", try --target/],
  ['a target without port', ['--target', 'example.com'], /--target "example\.com": .*host:port/],
  ['a target that could be read twice', ['--target', '127.1:80'], /--target "127\.1:80": /],
  ['a resolver by name', ['--dns', 'dns.example.com:53'], /--dns takes the address of a resolver/],
  ['too many', ['--target', ...Array.from({ length: 33 }, (_, at) => `192.0.2.1:${at + 1}`)], /at most 32/],
  ['a proxy that speaks something else', [...target, '--proxy', 'socks5://g:1080'], /--proxy takes a URL/],
  ['a proxy that is none', [...target, '--proxy', 'alice:secret@g'], /--proxy takes a URL such as \S+\nSee/],
  ['a timeout', [...target, '--timeout', '5'], /--timeout takes a time from 100ms to 60s/],
  ['a long timeout', [...target, '--timeout', '61s'], /--timeout takes a time from 100ms to 60s/],
  ['an output', [...target, '--output', 'yaml'], /--output takes text or json/],
  ['a namespace without Job', [...target, '--namespace', 'a'], /--namespace belongs to --job/],
  ['a Job without image', [...target, '--job', '--namespace', 'a'], /--job needs --namespace and --image/],
  [
    'a password in a Job',
    [...target, '--job', '--namespace', 'a', '--image', 'i', '--proxy', 'http://a:secret@g:3128'],
    /would stand in the Job for everybody to read\nSee/,
  ],
] as const)
  test(`refused, with what was wanted: ${what}`, async t => {
    const { code, stdout, stderr } = await bypass(...argv);
    t.deepEqual([code, stdout], [2, '']);
    t.regex(stderr, message);
    t.notRegex(stderr, /secret/);
  });

test('help', async t => {
  const { code, stdout } = await bypass('--help');
  t.is(code, 0);
  t.true(stdout.startsWith('Usage: sallyport bypass --target HOST:PORT'));
  t.true(stdout.split('\n').every(line => line.length <= 120));
});
