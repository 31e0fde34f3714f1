// The Kubernetes API over HTTP: whose credentials go where, what comes back of each kind of answer, and that no trouble
// shows a credential.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import { type Api, ApiError, type WatchEvent } from '../../k8s/api.ts';
import { connectApi } from '../../k8s/connect-api.ts';
import { CredentialSource } from '../../k8s/credentials.ts';
import { targetOf } from '../../k8s/kubeconfig.ts';
import { makeAuthority } from '../support/certificates.ts';
import { lifetime } from '../support/lifetime.ts';
import { eventually, within } from '../support/waiting.ts';
import { HttpApiServer, status } from './http-api-server.ts';

const token = 'the-secret-token';

type Own = ReturnType<typeof lifetime>['own'];

async function folderOf(own: Own): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-api-'));
  own({ close: () => rm(folder, { recursive: true }) });
  return folder;
}

async function kubeconfig(
  folder: string,
  server: string,
  user: object,
  cluster: object = {},
): Promise<string> {
  const file = path.join(folder, 'kubeconfig');
  await writeFile(
    file,
    stringify({
      'current-context': 'one',
      clusters: [{ name: 'c', cluster: { server, ...cluster } }],
      users: [{ name: 'u', user }],
      contexts: [
        { name: 'one', context: { cluster: 'c', user: 'u', namespace: 'egress' } },
        { name: 'bare', context: { cluster: 'c' } },
        { name: 'broken', context: { cluster: 'nowhere', user: 'u' } },
      ],
    }),
  );
  return file;
}

const inNoPod = { env: {}, serviceAccountFolder: '/nonexistent' };

interface Setup {
  server: HttpApiServer;
  api: Api;
  folder: string;
}

/** A server and a client with a token, for one test. */
const withApi = test.macro(async (t, body: (t: ExecutionContext, setup: Setup) => Promise<void>) => {
  const scope = lifetime();
  try {
    const server = scope.own(await HttpApiServer.start());
    const folder = await folderOf(scope.own);
    const file = await kubeconfig(folder, server.url.href, { token });
    const { api } = await connectApi({ kubeconfig: file }, inNoPod);
    scope.own(api);
    await body(t, { server, api, folder });
  } finally {
    await scope.close();
  }
});

test('calls carry JSON, the token and their query', withApi, async (t, { server, api }) => {
  server.answer = ({ method }) => ({ body: { method } });
  t.deepEqual(await api.get('/a', { limit: 5, continue: undefined, force: true }), { method: 'GET' });
  t.deepEqual(await api.create('/b', { x: 1 }), { method: 'POST' });
  t.deepEqual(await api.replace('/c', { x: 2 }), { method: 'PUT' });
  t.deepEqual(await api.patch('/d', { x: 3 }, 'application/merge-patch+json', { fieldManager: 'f' }), {
    method: 'PATCH',
  });
  await api.delete('/e');
  const [get, create, , patch] = server.requests;
  t.is(get!.query.toString(), 'limit=5&force=true');
  t.true(server.requests.every(({ headers }) => headers.authorization === `Bearer ${token}`));
  t.deepEqual(create!.body, { x: 1 });
  t.is(create!.headers['content-type'], 'application/json');
  t.is(patch!.headers['content-type'], 'application/merge-patch+json');
  t.is(patch!.query.get('fieldManager'), 'f');
  t.deepEqual(api.counts(), { ok: 5, refused: 0, failed: 0 });
});

test('a refusal is an ApiError with status and reason', withApi, async (t, { server, api }) => {
  server.answer = () => status(409, 'Conflict', 'it was changed');
  const error = await t.throwsAsync<ApiError>(api.replace('/x', {}), { instanceOf: ApiError });
  t.is(error?.status, 409);
  t.is(error?.reason, 'Conflict');
  t.is(error?.message, 'PUT /x: 409 Conflict it was changed');
  server.answer = () => ({ status: 302, text: 'elsewhere' });
  t.is((await t.throwsAsync<ApiError>(api.get('/x')))?.status, 302, 'a redirect is not followed');
  t.deepEqual(api.counts(), { ok: 0, refused: 2, failed: 0 });
});

test('an answer that is no JSON is an error', withApi, async (t, { server, api }) => {
  server.answer = () => ({ text: '<html>' });
  const error = await t.throwsAsync<ApiError>(api.get('/x'), { instanceOf: ApiError });
  t.is(error?.status, 0);
  t.is(error?.reason, 'InvalidAnswer');
});

test('a call ends in time when the server does not answer', withApi, async (t, { server, api }) => {
  server.answer = () => 'hang';
  const error = await t.throwsAsync<ApiError>(
    within(api.create('/x', {}, { timeoutMs: 100 }), 'the timeout'),
  );
  t.is(error?.message, 'POST /x: no answer in time');
  t.deepEqual(api.counts(), { ok: 0, refused: 0, failed: 1 });
});

test('no trouble shows the token', withApi, async (t, { server, api }) => {
  const errors: unknown[] = [];
  const fail = async (promise: Promise<unknown>) => errors.push(await t.throwsAsync(promise));
  server.answer = () => status(401, 'Unauthorized');
  await fail(api.get('/x'));
  server.answer = () => ({ text: 'no json' });
  await fail(api.get('/x'));
  server.answer = () => 'hang';
  const cut = api.get('/x');
  await eventually(() => server.requests.length === 3 || undefined, 'the request');
  server.cut();
  await fail(cut);
  await fail(api.create('/x', {}, { timeoutMs: 50 }));
  await server.close();
  await fail(api.get('/x'));
  await server.listen(0);
  const all = errors
    .map(error => inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true }))
    .join();
  t.false(all.includes(token));
  t.is(errors.length, 5);
});

const event = (type: string, version: number, extra = {}) =>
  `${JSON.stringify({ type, object: { metadata: { name: 'n', resourceVersion: `${version}` }, ...extra } })}\n`;

/** Watches `/pods` until it ends. */
function watching(api: Api, inactivityMs = 30_000) {
  const events: WatchEvent[] = [];
  const stop = new AbortController();
  const opened = Promise.withResolvers<void>();
  const ended = api.watch('/pods', {
    resourceVersion: '7',
    signal: stop.signal,
    inactivityMs,
    onOpen: opened.resolve,
    onEvent: each => events.push(each),
  });
  ended.catch(() => undefined);
  return {
    events,
    stop,
    opened: within(opened.promise, 'the watch to open'),
    ended: within(ended, 'its end'),
  };
}

test('a watch gives events however the bytes come', withApi, async (t, { server, api }) => {
  server.offer('/pods');
  const { events, opened, ended } = watching(api);
  await opened;
  const [request] = server.requests;
  t.is(request!.query.get('resourceVersion'), '7');
  t.is(request!.query.get('allowWatchBookmarks'), 'true');
  const seconds = Number(request!.query.get('timeoutSeconds'));
  t.true(seconds >= 300 && seconds < 600);
  const text = event('ADDED', 8, { note: 'zoë ☂' }) + event('MODIFIED', 9) + event('BOOKMARK', 10);
  for (const byte of Buffer.from(text)) server.writeRaw('/pods', Buffer.from([byte]));
  server.endWatches();
  await ended;
  t.deepEqual(
    events.map(({ type }) => type),
    ['ADDED', 'MODIFIED', 'BOOKMARK'],
  );
  t.is((events[0]!.object as { note: string }).note, 'zoë ☂');
});

test('an ERROR on a watch is its rejection', withApi, async (t, { server, api }) => {
  server.offer('/pods');
  server.forgetHistory();
  const { events, ended } = watching(api);
  const error = await t.throwsAsync<ApiError>(ended, { instanceOf: ApiError });
  t.is(error?.status, 410);
  t.is(error?.reason, 'Expired');
  t.deepEqual(events, []);
});

for (const [name, text] of [
  ['garbage', '{"type":"ADDED","obj\n'],
  ['another type', event('RENAMED', 8)],
  ['no object', '{"type":"ADDED","object":null}\n'],
  ['an empty line', '\n'],
  ['null', 'null\n'],
] as const)
  test(
    `${name} on a watch is an error, and what came before it counts`,
    withApi,
    async (t, { server, api }) => {
      server.offer('/pods');
      const { events, opened, ended } = watching(api);
      await opened;
      server.writeRaw('/pods', event('ADDED', 8) + text + event('ADDED', 9));
      const error = await t.throwsAsync<ApiError>(ended, { instanceOf: ApiError });
      t.is(error?.reason, 'InvalidAnswer');
      t.is(events.length, 1);
      await eventually(() => server.watching === 0 || undefined, 'the connection to be closed');
    },
  );

test('a watch that ends within a line is an error', withApi, async (t, { server, api }) => {
  server.offer('/pods');
  const { opened, ended } = watching(api);
  await opened;
  server.writeRaw('/pods', '{"type":');
  server.endWatches();
  t.is((await t.throwsAsync<ApiError>(ended))?.reason, 'InvalidAnswer');
});

test('a line without end is an error', withApi, async (t, { server, api }) => {
  server.offer('/pods');
  const { opened, ended } = watching(api);
  await opened;
  for (let mib = 0; mib < 9; mib++) server.writeRaw('/pods', 'x'.repeat(1024 ** 2));
  t.is((await t.throwsAsync<ApiError>(ended))?.reason, 'AnswerTooLarge');
});

test(
  'silence and a cut end a watch with an error, the signal without',
  withApi,
  async (t, { server, api }) => {
    server.offer('/pods');
    t.is((await t.throwsAsync<ApiError>(watching(api, 100).ended))?.status, 0);
    const cut = watching(api);
    await cut.opened;
    server.cut();
    t.is((await t.throwsAsync<ApiError>(cut.ended))?.status, 0);
    const stopped = watching(api);
    await stopped.opened;
    stopped.stop.abort();
    await t.notThrowsAsync(stopped.ended);
    const never = new AbortController();
    never.abort();
    const rest = { resourceVersion: '1', inactivityMs: 1000, onEvent: () => t.fail() };
    await t.notThrowsAsync(api.watch('/pods', { signal: never.signal, ...rest }));
  },
);

test('what onEvent throws is what the watch rejects with', withApi, async (t, { server, api }) => {
  server.offer('/pods');
  const thrown = new Error('of the listener');
  const opened = Promise.withResolvers<void>();
  const ended = api.watch('/pods', {
    resourceVersion: '7',
    signal: new AbortController().signal,
    inactivityMs: 30_000,
    onOpen: opened.resolve,
    onEvent: () => {
      throw thrown;
    },
  });
  await opened.promise;
  server.writeRaw('/pods', event('ADDED', 8));
  t.is(await t.throwsAsync(within(ended, 'the end')), thrown);
});

const scoped = test.macro(
  async (t, body: (t: ExecutionContext, own: Own, folder: string) => Promise<void>) => {
    const scope = lifetime();
    try {
      await body(t, scope.own, await folderOf(scope.own));
    } finally {
      await scope.close();
    }
  },
);

test(
  'in a pod: service account, its namespace, and a token that was rotated',
  scoped,
  async (t, _own, folder) => {
    const write = (name: string, text: string) => writeFile(path.join(folder, name), text);
    await write('token', 'first\n');
    await write('namespace', 'egress');
    await write('ca.crt', 'a certificate');
    const surroundings = {
      env: { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' },
      serviceAccountFolder: folder,
    };
    const target = targetOf({}, surroundings);
    t.is(target.server.href, 'https://[fd00::1]/');
    t.is(target.namespace, 'egress');
    let nowMs = 0;
    const source = new CredentialSource(target, () => nowMs);
    const shown = async () => (await source.current()).headers.authorization;
    t.is(await shown(), 'Bearer first');
    t.is((await source.current()).tls.ca, 'a certificate');
    await write('token', 'second\n');
    nowMs = 59_000;
    t.is(await shown(), 'Bearer first');
    nowMs = 61_000;
    t.is(await shown(), 'Bearer second');
    await write('token', 'third');
    source.forget();
    t.is(await shown(), 'Bearer third', 'after a 401');
    await rm(path.join(folder, 'token'));
    nowMs = 200_000;
    t.is(await shown(), 'Bearer third', 'a missing file leaves what was read');
    await write('token', 'fourth');
    t.is(await shown(), 'Bearer fourth');
  },
);

test('a 401 has the files read again', scoped, async (t, own, folder) => {
  const server = own(await HttpApiServer.start());
  server.answer = ({ headers }) =>
    headers.authorization === 'Bearer second' ? { body: {} } : status(401, 'Unauthorized');
  await writeFile(path.join(folder, 'token'), 'first');
  const file = await kubeconfig(folder, server.url.href, { tokenFile: 'token' });
  const { api } = await connectApi({ kubeconfig: file }, inNoPod);
  own(api);
  t.is((await t.throwsAsync<ApiError>(api.get('/x')))?.status, 401);
  await writeFile(path.join(folder, 'token'), 'second');
  t.deepEqual(await api.get('/x'), {});
});

test('an empty CA file is refused: the system would be trusted instead', scoped, async (t, _own, folder) => {
  const file = await kubeconfig(
    folder,
    'https://example.com',
    { token },
    { 'certificate-authority': 'ca.crt' },
  );
  await writeFile(path.join(folder, 'ca.crt'), '\n');
  await t.throwsAsync(connectApi({ kubeconfig: file }, inNoPod), { message: /ca\.crt is empty/ });
  await rm(path.join(folder, 'ca.crt'));
  await t.throwsAsync(connectApi({ kubeconfig: file }, inNoPod), {
    message: /cannot read .*ca\.crt \(ENOENT\)/,
  });
});

test('a kubeconfig may name files, relative to itself', scoped, async (t, _own, folder) => {
  const user = { tokenFile: 'sub/token', token: 'in the file', 'client-certificate-data': btoa('cert') };
  const file = await kubeconfig(folder, 'https://example.com/under/', user);
  const target = targetOf({ kubeconfig: file }, inNoPod);
  t.is(target.account.tokenFile, path.join(folder, 'sub/token'));
  t.is(target.namespace, 'egress');
  t.is(target.server.href, 'https://example.com/under');
  t.is(targetOf({ kubeconfig: file, context: 'bare' }, inNoPod).namespace, null);
});

test('an exec plugin is asked once, and again after a 401', scoped, async (t, _own, folder) => {
  const script = `
    const fs = require('node:fs');
    const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
    fs.appendFileSync('${folder}/asked', 'x');
    const status = { token: info.kind + fs.readFileSync('${folder}/asked', 'utf8') };
    console.log(JSON.stringify({ kind: 'ExecCredential', status }));`;
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: process.execPath,
    args: ['-e', script],
  };
  const source = new CredentialSource(
    targetOf({ kubeconfig: await kubeconfig(folder, 'https://example.com', { exec }) }, inNoPod),
  );
  const shown = async () => (await source.current()).headers.authorization;
  t.deepEqual(await Promise.all([shown(), shown()]), ['Bearer ExecCredentialx', 'Bearer ExecCredentialx']);
  t.is(await shown(), 'Bearer ExecCredentialx');
  source.forget();
  t.is(await shown(), 'Bearer ExecCredentialxx');
});

test('what a plugin says when it fails is not repeated', scoped, async (t, _own, folder) => {
  const exec = { command: process.execPath, args: ['-e', `console.error('${token}'); process.exit(1)`] };
  const file = await kubeconfig(folder, 'https://example.com', { exec });
  const error = await t.throwsAsync(connectApi({ kubeconfig: file }, inNoPod), {
    message: /credential plugin of user u failed; run node by hand/,
  });
  t.false(inspect(error, { depth: 9 }).includes(token));
});

test(
  'TLS holds the server against its CA, and a client certificate is shown',
  scoped,
  async (t, own, folder) => {
    const authority = own(await makeAuthority());
    const { cert, key } = await authority.issue('127.0.0.1');
    const seen: string[] = [];
    const options = { cert, key, ca: authority.ca, requestCert: true, rejectUnauthorized: false };
    const server = https.createServer(options, (request, response) => {
      seen.push((request.socket as TLSSocket).getPeerCertificate().subject?.CN as string);
      response.end('{}');
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    own({ close: async () => void server.close().closeAllConnections() });
    const { port } = server.address() as AddressInfo;
    const client = await authority.issue('client.example.com');
    const user = {
      'client-certificate-data': Buffer.from(client.cert).toString('base64'),
      'client-key-data': Buffer.from(client.key).toString('base64'),
    };
    const url = `https://127.0.0.1:${port}`;
    const trusted = { 'certificate-authority': authority.caFile };
    const { api } = await connectApi({ kubeconfig: await kubeconfig(folder, url, user, trusted) }, inNoPod);
    own(api);
    t.deepEqual(await api.get('/x'), {});
    t.is(seen.length, 1);
    t.truthy(seen[0]);
    const stranger = own(await makeAuthority());
    const other = { 'certificate-authority': stranger.caFile };
    const distrusting = await connectApi({ kubeconfig: await kubeconfig(folder, url, user, other) }, inNoPod);
    own(distrusting.api);
    t.is((await t.throwsAsync<ApiError>(distrusting.api.get('/x')))?.status, 0);
    t.is(seen.length, 1);
  },
);

test('what cannot be used is refused with a remedy', scoped, async (t, _own, folder) => {
  const given = (server: string, user: object = { token }, cluster: object = {}) =>
    kubeconfig(folder, server, user, cluster).then(file => ({ kubeconfig: file }));
  const refused = async (config: object, message: RegExp) => {
    const error = t.throws(() => targetOf(config, inNoPod), { message });
    t.false(inspect(error).includes(token));
  };
  await refused({}, /not in a pod .* kubernetes\.kubeconfig/);
  await refused(await given('http://example.com'), /not https/);
  await refused(await given('nonsense'), /no URL/);
  await refused(await given('https://x', { 'auth-provider': { name: 'gcp' } }), /exec plugin/);
  await refused(await given('https://x', {}, { 'proxy-url': 'socks5://x' }), /proxy-url/);
  const file = await given('https://x');
  await refused({ ...file, context: 'two' }, /context two is not there; it has one, bare, broken/);
  await refused({ ...file, context: 'broken' }, /cluster nowhere is not there; it has c/);
  await writeFile(file.kubeconfig, `users: [{user: {token: ${token}}}]\nclusters: {`);
  await refused(file, /is no kubeconfig/);
  await refused({ kubeconfig: `${folder}/none` }, /cannot read .*none \(ENOENT\)/);
});
