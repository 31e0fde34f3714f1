// A connection that is aborted is gone at once, with RST, even while its end waits behind bytes that nobody reads.

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { abortConnection } from '../../../gateway/os/abort-connection.ts';
import { eventually } from '../../support/waiting.ts';

/** Both ends of a connection whose accepting side does not read. */
async function pair(t: ExecutionContext): Promise<{ near: Socket; far: Socket }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect({
    port: (server.address() as { port: number }).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  const [far] = (await once(server, 'connection')) as [Socket];
  t.teardown(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return { near, far };
}

const cases: [what: string, prepare: (near: Socket) => void][] = [
  ['an open connection', () => {}],
  ['one with bytes that nobody takes', near => void near.write(Buffer.alloc(20_000_000))],
  ['one whose end waits behind such bytes', near => void near.end(Buffer.alloc(20_000_000))],
];

for (const [what, prepare] of cases) {
  test(`aborted: ${what}`, async t => {
    const { near, far } = await pair(t);
    const errors: string[] = [];
    far.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''));
    near.on('error', error => t.fail(String(error)));
    prepare(near);
    await new Promise(resolve => setTimeout(resolve, 50));
    abortConnection(near);
    await eventually(() => near.closed || undefined, 'close of the near side');
    far.resume();
    await eventually(() => errors.length > 0 || undefined, 'the far side to see it');
    t.deepEqual(errors, ['ECONNRESET']);
  });
}

test('aborted: one that is ending in this very turn', async t => {
  const { near, far } = await pair(t);
  far.on('error', () => {});
  near.on('error', error => t.fail(String(error)));
  near.end();
  abortConnection(near);
  t.true(await eventually(() => near.closed || undefined, 'close of the near side'));
});

test('one that is closed already is left alone', async t => {
  const { near } = await pair(t);
  near.destroy();
  t.notThrows(() => abortConnection(near));
});
