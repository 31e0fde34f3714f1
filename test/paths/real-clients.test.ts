// The clients that people use, as they install them: curl, wget, Python, Node and git, each through the gateway.
// A client that is not on the machine is named and passed over; in CI that is a failure.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { type Authority, makeAuthority } from '../support/certificates.ts';
import { gitRepository } from '../support/git-origin.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during, fileLifetime } from '../support/lifetime.ts';
import { clusterPolicy, htpasswd } from '../support/policies.ts';
import { serving } from '../support/serving.ts';
import type { SessionRecord } from '../support/session-record.ts';
import { httpsOrigin } from '../support/tls-origins.ts';

const scope = fileLifetime(test);
let authority: Authority;
test.serial.before(async () => {
  authority = scope.own(await makeAuthority());
});

const on = serving(test, async () => ({
  users: await htpasswd({ alice: 'open sesame' }),
  policies: [
    clusterPolicy({
      name: 'everyone',
      rules: [
        { name: 'closed', action: 'Deny', to: [{ host: 'denied.example' }] },
        { name: 'test-names', action: 'Allow', to: [{ host: '*.test' }], resolvesTo: ['127.0.0.0/8'] },
        { name: 'socks-literals', action: 'Allow', to: [{ cidr: '127.0.0.9/32' }] },
      ],
    }),
    clusterPolicy({
      name: 'members',
      priority: 200,
      clients: { users: ['alice'] },
      rules: [{ name: 'club', action: 'Allow', to: [{ host: 'club.example' }], resolvesTo: ['127.0.0.0/8'] }],
    }),
  ],
}));

test.serial.before(() => {
  for (const name of ['web.test', 'secure.test', 'git.test', 'club.example'])
    on.dns.set(name, { a: ['127.0.0.1'] });
});

interface Outcome {
  code: number | string;
  stdout: string;
  stderr: string;
}

/** No setting of the machine's own reaches the client. */
const bareEnvironment = (folder: string) => ({ PATH: process.env.PATH, HOME: folder, LC_ALL: 'C.UTF-8' });

const found = async (program: string) =>
  promisify(execFile)('sh', ['-c', `command -v "$0"`, program]).then(
    () => true,
    () => false,
  );

/** Runs a client, or says that it is not there and gives null. */
async function client(
  t: ExecutionContext,
  program: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<Outcome | null> {
  if (!(await found(program))) {
    t.log(`NOT RUN: ${program} is not on this machine`);
    t.falsy(process.env.CI, `CI must have ${program}`);
    return null;
  }
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-client-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return new Promise(resolve => {
    const options = { env: { ...bareEnvironment(folder), ...env }, timeout: 30_000 };
    execFile(program, args, options, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

const proxyUrl = (scheme = 'http', user = '') => `${scheme}://${user}127.0.0.1:${on.gateway.proxy}`;

/** The record of the one session to this destination port with this host. */
const recordTo = (port: number) => on.gateway.waitForRecord(record => record.destination.port === port);

function allowed(
  t: ExecutionContext,
  record: SessionRecord,
  protocol: SessionRecord['protocol'],
  host: string,
): void {
  t.like(record, {
    protocol,
    destination: { host },
    decision: { verdict: 'allow' },
    close: { reason: 'complete' },
  });
}

const secure = async (address?: string) =>
  httpsOrigin(await authority.issue('secure.test'), undefined, address);

test('curl -x http://, plain and CONNECT', async t => {
  const web = during(t, await httpOrigin());
  const plain = await client(t, 'curl', [
    '-sS',
    '-x',
    proxyUrl(),
    `http://web.test:${web.port}/big?bytes=100000`,
  ]);
  if (plain === null) return;
  t.is(plain.stdout.length, 100_000, plain.stderr);
  allowed(t, await recordTo(web.port), 'http', 'web.test');

  const tls = during(t, await secure());
  const url = `https://secure.test:${tls.port}/`;
  const tunnel = await client(t, 'curl', ['-sS', '-x', proxyUrl(), '--cacert', authority.caFile, url]);
  t.is(tunnel!.stdout, 'hello over TLS\n', tunnel!.stderr);
  allowed(t, await recordTo(tls.port), 'connect', 'secure.test');
});

test('curl uploads with Expect: 100-continue', async t => {
  const web = during(t, await httpOrigin());
  const body = 'u'.repeat(3_000_000);
  const file = path.join(tmpdir(), `sallyport-upload-${process.pid}-${web.port}`);
  await writeFile(file, body);
  t.teardown(() => rm(file, { force: true }));
  const args = [
    '-sS',
    '-x',
    proxyUrl(),
    '-T',
    file,
    '-H',
    'Expect: 100-continue',
    `http://web.test:${web.port}/up`,
  ];
  if ((await client(t, 'curl', args)) === null) return;
  t.is(web.seen[0]?.body, body);
});

for (const [option, host] of [
  ['--socks5', '127.0.0.9'],
  ['--socks5-hostname', 'secure.test'],
] as const) {
  test(`curl ${option}`, async t => {
    const tls = during(t, await secure(host === 'secure.test' ? undefined : host));
    const resolve = option === '--socks5' ? ['--resolve', `secure.test:${tls.port}:${host}`] : [];
    const to = ['--cacert', authority.caFile, `https://secure.test:${tls.port}/`];
    const through = [option, `127.0.0.1:${on.gateway.socks}`];
    const result = await client(t, 'curl', ['-sS', ...through, ...resolve, ...to]);
    if (result === null) return;
    t.is(result.stdout, 'hello over TLS\n', result.stderr);
    allowed(t, await recordTo(tls.port), 'socks5', host);
  });
}

test('curl --proxy-user, for HTTP and for SOCKS5', async t => {
  for (const proxy of [proxyUrl(), proxyUrl('socks5h')]) {
    const web = during(t, await httpOrigin());
    const url = `http://club.example:${web.port}/`;
    const without = await client(t, 'curl', [
      '-sS',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-x',
      proxy,
      url,
    ]);
    if (without === null) return;
    t.not(without.stdout, '200', 'members only');
    const args = ['-sS', '-x', proxy, '--proxy-user', 'alice:open sesame', url];
    t.regex((await client(t, 'curl', args))!.stdout, /"method":"GET"/);
    const record = await on.gateway.waitForRecord(
      each => each.destination.port === web.port && each.decision?.verdict === 'allow',
    );
    t.deepEqual(record.client.identity, { source: 'user', name: 'alice' });
  }
});

test('curl shows why a CONNECT was denied', async t => {
  const result = await client(t, 'curl', ['-sSv', '-x', proxyUrl(), 'https://denied.example/']);
  if (result === null) return;
  t.is(result.code, 56);
  t.regex(
    result.stderr,
    /HTTP\/1\.1 403 denied by ClusterEgressPolicy\/everyone rule closed/,
    'the reason phrase',
  );
  t.regex(result.stderr, /Proxy-Status: sallyport; error=http_request_denied/i);
});

test('wget, plain and CONNECT', async t => {
  const web = during(t, await httpOrigin());
  const env = { http_proxy: proxyUrl(), https_proxy: proxyUrl() };
  const plain = await client(t, 'wget', ['-qO-', `http://web.test:${web.port}/chunked`], env);
  if (plain === null) return;
  t.is(plain.stdout, 'one two three', plain.stderr);
  const tls = during(t, await secure());
  const args = ['-qO-', `--ca-certificate=${authority.caFile}`, `https://secure.test:${tls.port}/`];
  const tunnel = await client(t, 'wget', args, env);
  t.is(tunnel!.stdout, 'hello over TLS\n', tunnel!.stderr);
  allowed(t, await recordTo(tls.port), 'connect', 'secure.test');
});

const python = `
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler())
for url in sys.argv[2:]:
    sys.stdout.write(opener.open(url).read().decode())
`;

test('Python urllib, plain and CONNECT, with a password in the proxy URL', async t => {
  const web = during(t, await httpOrigin());
  const tls = during(t, await secure());
  const urls = [`http://web.test:${web.port}/chunked`, `https://secure.test:${tls.port}/`];
  const proxy = proxyUrl('http', 'alice:open%20sesame@');
  const env = { http_proxy: proxy, https_proxy: proxy };
  const result = await client(t, 'python3', ['-c', python, authority.caFile, ...urls], env);
  if (result === null) return;
  t.is(result.stdout, 'one two threehello over TLS\n', result.stderr);
  for (const { port } of [web, tls])
    t.deepEqual((await recordTo(port)).client.identity, { source: 'user', name: 'alice' });
});

test('Node fetch with NODE_USE_ENV_PROXY=1', async t => {
  const web = during(t, await httpOrigin());
  const tls = during(t, await secure());
  const program = `for (const url of process.argv.slice(1)) process.stdout.write(await (await fetch(url)).text())`;
  const urls = [`http://web.test:${web.port}/chunked`, `https://secure.test:${tls.port}/`];
  const env = {
    NODE_USE_ENV_PROXY: '1',
    HTTP_PROXY: proxyUrl(),
    HTTPS_PROXY: proxyUrl(),
    NODE_EXTRA_CA_CERTS: authority.caFile,
  };
  const args = ['--input-type=module', '-e', program, ...urls];
  const result = await client(t, process.execPath, args, env);
  t.is(result!.stdout, 'one two threehello over TLS\n', result!.stderr);
  t.is((await recordTo(tls.port)).destination.host, 'secure.test');
});

test('git clone over HTTPS', async t => {
  if (!(await found('git'))) return void (await client(t, 'git', []));
  const repository = during(t, await gitRepository({ 'README.md': 'cloned through the gateway\n' }));
  const origin = during(t, await httpsOrigin(await authority.issue('git.test'), repository.serve));
  const target = path.join(repository.folder, 'clone');
  const settings = ['-c', `http.sslCAInfo=${authority.caFile}`, '-c', `http.proxy=${proxyUrl()}`];
  const url = `https://git.test:${origin.port}/repository.git`;
  const result = await client(t, 'git', [...settings, 'clone', '-q', url, target]);
  t.is(result!.code, 0, result!.stderr);
  const shown = await client(t, 'git', ['-C', target, 'show', 'HEAD:README.md']);
  t.is(shown!.stdout, 'cloned through the gateway\n');
  // git closes while the server's last TLS bytes are on their way, which TCP answers with a reset.
  t.like(await recordTo(origin.port), { destination: { host: 'git.test' }, stage: 'relay' });
});
