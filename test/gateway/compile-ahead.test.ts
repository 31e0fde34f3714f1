// What an install compiles is all that a start loads: the first start need not load the compiler of types.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { startGateway } from '../support/gateway.ts';
import { during } from '../support/lifetime.ts';

const root = path.resolve(import.meta.dirname, '../..');

test('after an install the first start finds every file in the compile cache', async t => {
  const cache = await mkdtemp(path.join(tmpdir(), 'sallyport-compiled-'));
  t.teardown(() => rm(cache, { recursive: true, force: true }));
  const env = { NODE_COMPILE_CACHE: cache };
  const args = ['--disable-warning=ExperimentalWarning', path.join(root, 'gateway/compile-ahead.ts')];
  await promisify(execFile)(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: '', ...env } });
  const gateway = during(t, await startGateway({ env: { ...env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' } }));
  const read = gateway
    .stderr()
    .split('\n')
    .filter(line => /reading cache from .* for StrippedTypeScript/.test(line));
  t.true(read.some(line => line.includes('/gateway/main.ts')));
  t.deepEqual(
    read.filter(line => !line.includes('success')),
    [],
  );
});
