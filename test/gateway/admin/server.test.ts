// The admin server on a real socket: what each path answers, and what it refuses.

import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { type AdminOptions, createAdminServer, type Readiness } from '../../../gateway/admin/server.ts';

const fine: Readiness = {
  ready: true,
  reasons: [],
  draining: false,
  generation: 3,
  staleConfiguration: [],
  log: 'ok',
};

const options: AdminOptions = {
  metrics: async () => ({ contentType: 'text/plain; version=0.0.4; charset=utf-8', body: 'up 1\n' }),
  readiness: () => fine,
  egressAddresses: async () => ({ addresses: ['192.0.2.10', '192.0.2.11'], more: 1 }),
};

async function start(t: ExecutionContext, changes: Partial<AdminOptions> = {}, address = '127.0.0.1') {
  const server = createAdminServer({ ...options, ...changes });
  const bound = await server.listen(address, 0);
  t.teardown(() => server.close());
  return { server, port: bound.port };
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

function ask(
  port: number,
  path: string,
  method = 'GET',
  headers: Record<string, string> = {},
  body?: string,
) {
  return new Promise<Answer>((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', path, method, headers }, async response =>
      resolve({ status: response.statusCode!, headers: response.headers, body: await text(response) }),
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** Sends exactly these bytes and returns all that comes back until the server closes. */
function askRaw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('error', reject);
    text(socket).then(resolve, reject);
  });
}

test('/metrics gives the text with its content type', async t => {
  const { port } = await start(t);
  const { status, headers, body } = await ask(port, '/metrics');
  t.deepEqual(
    [status, headers['content-type'], body],
    [200, 'text/plain; version=0.0.4; charset=utf-8', 'up 1\n'],
  );
});

test('/healthz says ok, whatever the readiness', async t => {
  const { port } = await start(t, { readiness: () => ({ ...fine, ready: false }) });
  t.like(await ask(port, '/healthz'), { status: 200, body: 'ok\n' });
});

test('/readyz says 200 or 503 with the whole state as JSON', async t => {
  let state = fine;
  const { port } = await start(t, { readiness: () => state });
  const ready = await ask(port, '/readyz?verbose');
  t.deepEqual(
    [ready.status, ready.headers['content-type'], JSON.parse(ready.body)],
    [200, 'application/json', fine],
  );
  state = { ...fine, ready: false, draining: true, reasons: ['draining'] };
  const draining = await ask(port, '/readyz');
  t.deepEqual([draining.status, JSON.parse(draining.body)], [503, state]);
});

test('/egress-addresses is a list of lines, or everything as JSON', async t => {
  const { port } = await start(t);
  const text = await ask(port, '/egress-addresses');
  t.is(text.body, '192.0.2.10\n192.0.2.11\n');
  t.is(text.headers['content-type'], 'text/plain; charset=utf-8');
  const json = await ask(port, '/egress-addresses?format=json');
  t.deepEqual(JSON.parse(json.body), { addresses: ['192.0.2.10', '192.0.2.11'], more: 1 });
  t.is((await ask(port, '/egress-addresses?format=xml')).status, 400);
});

test('/ says in one line what there is', async t => {
  const { port } = await start(t);
  const { status, body } = await ask(port, '/');
  t.is(status, 200);
  t.is(body.trimEnd().split('\n').length, 1);
  for (const path of ['/metrics', '/healthz', '/readyz']) t.true(body.includes(path));
});

test('HEAD is GET without the body', async t => {
  const { port } = await start(t);
  const { status, headers, body } = await ask(port, '/metrics', 'HEAD');
  t.deepEqual([status, headers['content-length'], body], [200, '5', '']);
});

for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'])
  test(`${method} is answered 405`, async t => {
    const { port } = await start(t);
    const { status, headers } = await ask(port, '/metrics', method);
    t.deepEqual([status, headers.allow], [405, 'GET, HEAD']);
  });

for (const path of ['/other', '/metrics/', '/METRICS', '//metrics', '/__proto__', '/toString', '/%2e', '*'])
  test(`${path} is answered 404`, async t => {
    const { port } = await start(t);
    t.is((await ask(port, path)).status, 404);
  });

test('an absolute target is answered 404: this is no proxy', async t => {
  const { port } = await start(t);
  const answer = await askRaw(
    port,
    'GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  );
  t.regex(answer, /^HTTP\/1\.1 404 /);
});

test('CONNECT gets no tunnel', async t => {
  const { port } = await start(t);
  t.false((await askRaw(port, 'CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n')).includes('200'));
});

test('every answer carries the security fields, and none allows another origin', async t => {
  const { port } = await start(t, { metrics: () => Promise.reject(new Error('x')) });
  const origin = { Origin: 'http://evil.example' };
  const answers = await Promise.all([
    ask(port, '/healthz', 'GET', origin),
    ask(port, '/metrics', 'GET', origin),
    ask(port, '/nothing', 'GET', origin),
    ask(port, '/', 'OPTIONS', origin),
    ask(port, '/', 'GET', { ...origin, Host: 'evil.example' }),
  ]);
  t.deepEqual(
    answers.map(answer => answer.status),
    [200, 500, 404, 405, 421],
  );
  for (const { headers } of answers) {
    t.is(headers['x-content-type-options'], 'nosniff');
    t.is(headers['cache-control'], 'no-store');
    t.regex(String(headers['content-security-policy']), /default-src 'none'/);
    t.deepEqual(
      Object.keys(headers).filter(name => name.startsWith('access-control')),
      [],
    );
  }
});

const hosts: [string, number][] = [
  ['localhost', 200],
  ['LOCALHOST:9128', 200],
  ['127.0.0.1:9128', 200],
  ['[::1]:9128', 200],
  ['10.0.0.7', 200],
  ['evil.example', 421],
  ['evil.example:9128', 421],
  ['localhost.evil.example', 421],
  ['localhost:x', 421],
  ['127.0.0.1.evil.example', 421],
];

for (const [host, expected] of hosts)
  test(`on loopback, Host "${host}" is answered ${expected}`, async t => {
    const { port } = await start(t);
    const { status, body } = await ask(port, '/healthz', 'GET', { Host: host });
    t.is(status, expected);
    t.false(body.includes('evil'));
  });

test('on other addresses any Host is answered: a scraper uses the name of a service', async t => {
  const { port } = await start(t, {}, '0.0.0.0');
  t.is((await ask(port, '/healthz', 'GET', { Host: 'sallyport.egress.svc' })).status, 200);
});

test('HTTP/1.0 without a Host is answered', async t => {
  const { port } = await start(t);
  t.regex(await askRaw(port, 'GET /healthz HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 .*ok\n$/s);
});

test('metrics that fail are answered 500, without the reason, and reported', async t => {
  const errors: string[] = [];
  const { port } = await start(t, {
    metrics: () => Promise.reject(new Error('secret detail')),
    onError: error => errors.push(error.message),
  });
  const { status, body } = await ask(port, '/metrics');
  t.is(status, 500);
  t.false(body.includes('secret'));
  t.deepEqual(errors, ['secret detail']);
});

test('a body is not read: the connection closes after the answer', async t => {
  const { port } = await start(t);
  const { status, headers } = await ask(port, '/healthz', 'POST', { 'Content-Length': '5' }, 'hello');
  t.deepEqual([status, headers.connection], [405, 'close']);
});

test('a head over 8 KiB is answered 431', async t => {
  const { port } = await start(t);
  t.is((await ask(port, '/healthz', 'GET', { 'X-Long': 'x'.repeat(9_000) })).status, 431);
});

test('a head that never ends is answered 408', async t => {
  const { port } = await start(t);
  const startMs = performance.now();
  t.regex(await askRaw(port, 'GET /healthz HTTP/1.1\r\n'), /^HTTP\/1\.1 408 /);
  t.true(performance.now() - startMs < 9_000);
});

test('a port in use is an error of listen', async t => {
  const { port } = await start(t);
  await t.throwsAsync(createAdminServer(options).listen('127.0.0.1', port), { code: 'EADDRINUSE' });
});

test('close ends kept connections, and may be called twice or before listen', async t => {
  const { server, port } = await start(t);
  const socket = connect(port, '127.0.0.1', () =>
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  );
  const all = text(socket);
  await new Promise(resolve => socket.once('data', resolve));
  await server.close();
  await server.close();
  t.regex(await all, /ok/);
  await createAdminServer(options).close();
});
