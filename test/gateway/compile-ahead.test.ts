// What an install compiles is all that a start loads, under the same flags: the first start compiles nothing.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { startGateway } from '../support/gateway.ts';
import { during } from '../support/lifetime.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** What Node says of each file that it looks for in its compile cache: types stripped, and V8's code. */
const aboutFile = /reading cache from .* for |V8 code cache for /;
const isFound = /success|was accepted/;

test('after an install the first start finds every file in the compile cache, and takes it', async t => {
  const cache = await mkdtemp(path.join(tmpdir(), 'sallyport-compiled-'));
  t.teardown(() => rm(cache, { recursive: true, force: true }));
  const env = { NODE_COMPILE_CACHE: cache };
  const args = ['--disable-warning=ExperimentalWarning', path.join(root, 'gateway/compile-ahead.ts')];
  await promisify(execFile)(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: '', ...env } });
  const debug = { NODE_DEBUG_NATIVE: 'COMPILE_CACHE' };
  const gateway = during(t, await startGateway({ config: { threads: 2 }, env: { ...env, ...debug } }));
  const told = gateway
    .stderr()
    .split('\n')
    .filter(line => aboutFile.test(line));
  for (const file of ['gateway/main.ts', 'gateway/serve.ts', 'gateway/threads/data-plane-worker.ts'])
    t.true(
      told.some(line => line.includes(file)),
      file,
    );
  t.deepEqual(
    told.filter(line => !isFound.test(line)),
    [],
  );
});
