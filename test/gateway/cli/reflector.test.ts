// `sallyport reflector` as a process: what it answers whom, what it refuses, how it ends; and the sample that runs it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { parseAllDocuments } from 'yaml';
import { during, fileLifetime } from '../../support/lifetime.ts';
import { type Reflector, startReflector } from '../../support/reflector.ts';
import { within } from '../../support/waiting.ts';
import { run } from './run.ts';

const root = path.resolve(import.meta.dirname, '../../..');

const scope = fileLifetime(test);
let reflector: Reflector;
test.serial.before('start a reflector for both families', async () => {
  reflector = scope.own(await startReflector('[::]:0'));
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

interface Asking {
  path?: string;
  method?: string;
  from?: string;
  to?: string;
  headers?: Record<string, string>;
}

function ask(given: Asking = {}): Promise<Answer> {
  const { from, to = '127.0.0.1', ...rest } = given;
  return new Promise((resolve, reject) => {
    const options = {
      host: to,
      port: reflector.port,
      ...(from !== undefined && { localAddress: from }),
      ...rest,
    };
    request(options, async response =>
      resolve({ status: response.statusCode!, headers: response.headers, body: await text(response) }),
    )
      .on('error', reject)
      .end();
  });
}

test('it tells the address that a connection came from, as text or JSON', async t => {
  t.like(await ask({ from: '127.7.0.1' }), { status: 200, body: '127.7.0.1\n' });
  const json = await ask({ from: '127.7.0.2', path: '/?format=json' });
  t.like(json, { status: 200, body: '{"address":"127.7.0.2"}\n' });
  t.is(json.headers['content-type'], 'application/json');
  t.is((await ask({ path: '/any/path?format=text' })).body, '127.0.0.1\n');
  t.is((await ask({ path: '/?format=xml' })).status, 400);
});

test('fields that name another client are not believed', async t => {
  const headers = {
    'X-Forwarded-For': '192.0.2.1',
    'X-Real-IP': '192.0.2.1',
    Forwarded: 'for=192.0.2.1',
    'CF-Connecting-IP': '192.0.2.1',
  };
  t.is((await ask({ headers })).body, '127.0.0.1\n');
});

test('IPv6, and IPv4 through a socket for both', async t => {
  t.is((await ask({ to: '::1' })).body, '::1\n');
  t.is((await ask({ from: '127.7.0.3' })).body, '127.7.0.3\n');
});

test('/healthz, HEAD, and what is refused', async t => {
  t.like(await ask({ path: '/healthz' }), { status: 200, body: 'ok\n' });
  t.like(await ask({ method: 'HEAD' }), { status: 200, body: '' });
  const posted = await ask({ method: 'POST' });
  t.is(posted.status, 405);
  t.is(posted.headers.allow, 'GET, HEAD');
  t.is((await ask({ headers: { 'X-Large': 'a'.repeat(9_000) } })).status, 431);
});

test('each answer ends its connection, and one that sends nothing is closed', async t => {
  const pipelined = connect(reflector.port, '127.0.0.1', () =>
    pipelined.write('GET / HTTP/1.1\r\nHost: r\r\n\r\nGET / HTTP/1.1\r\nHost: r\r\n\r\n'),
  );
  t.is([...(await within(text(pipelined), 'the end')).matchAll(/^HTTP/gm)].length, 1);
  const silent = connect(reflector.port, '127.0.0.1').resume();
  await within(once(silent, 'close'), 'the silent connection to be closed');
  t.pass();
});

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  test(`${signal} ends it with 0, though a connection is open`, async t => {
    const own = during(t, await startReflector());
    const idle = connect(own.port, '127.0.0.1').on('error', () => {});
    await once(idle, 'connect');
    idle.write('GET / HTTP/1.1\r\n');
    own.process.kill(signal);
    t.deepEqual(await within(own.exited, 'the reflector to end'), [0, null]);
    idle.destroy();
  });

test('a port that is taken is told, with exit code 1', async t => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { code, stdout, stderr } = await run([
    'reflector',
    '--listen',
    `127.0.0.1:${(taken.address() as AddressInfo).port}`,
  ]);
  t.deepEqual([code, stdout], [1, '']);
  t.regex(stderr, /cannot listen: .*EADDRINUSE/);
});

const misuses = [
  ['--listen', '8080'],
  ['--listen', 'localhost:8080'],
  ['--listen', '::1:8080'],
  ['--listen', '[127.0.0.1]:8080'],
  ['--listen', '127.0.0.1:65536'],
  ['--listen', '127.1:80'],
  ['--port', '8080'],
  ['8080'],
];
for (const argv of misuses)
  test(`misuse: ${argv.join(' ')}`, async t => t.is((await run(['reflector', ...argv])).code, 2));

test('its help', async t => {
  const { code, stdout } = await run(['reflector', '--help']);
  t.is(code, 0);
  t.true(stdout.startsWith('Usage: sallyport reflector'));
  t.regex(stdout, /X-Forwarded-For and the like are ignored on purpose/);
});

interface Container {
  args: string[];
  ports: { containerPort: number }[];
}

test('the sample runs the command as it is, on the port that it names', async t => {
  const documents = parseAllDocuments(readFileSync(path.join(root, 'k8s/samples/reflector.yaml'), 'utf8'));
  const objects = documents.map(document => document.toJS());
  const deployment = objects.find(({ kind }) => kind === 'Deployment');
  const [container] = deployment.spec.template.spec.containers as [Container];
  const [command, option, listen] = container.args;
  t.deepEqual([command, option], ['reflector', '--listen']);
  t.is(listen, `0.0.0.0:${container.ports[0]!.containerPort}`);
  const [launcher, ...argv] = [path.join(root, 'gateway/cli/sallyport'), command!, option!, '0.0.0.0:0'];
  const child: ChildProcess = spawn(launcher!, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = await within(once(createInterface(child.stdout!), 'line'), 'the reflector to listen');
  t.regex(line as string, /^reflector listening on http:\/\/0\.0\.0\.0:\d+\/$/);
});
