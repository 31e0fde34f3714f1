// Following a file that grows, is rotated, is cut short, and is not there for a while.

import { appendFile, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { followFile } from '../../../gateway/cli/follow-file.ts';

/** A followed file, and what was read of it so far. */
async function followed(t: ExecutionContext, text: string) {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-follow-'));
  const file = join(folder, 'log');
  await writeFile(file, text);
  const end = new AbortController();
  const state = { text: '' };
  const done = (async () => {
    for await (const chunk of followFile(file, { pollMs: 10, signal: end.signal })) state.text += chunk;
  })();
  t.teardown(async () => {
    end.abort();
    await done;
    await rm(folder, { recursive: true });
  });
  return { file, state };
}

async function reads(t: ExecutionContext, state: { text: string }, expected: string): Promise<void> {
  for (let i = 0; i < 300 && state.text !== expected; i++) await sleep(10);
  t.is(state.text, expected);
}

test('what is there, and what is added', async t => {
  const { file, state } = await followed(t, 'a\n');
  await reads(t, state, 'a\n');
  await appendFile(file, 'b\n');
  await reads(t, state, 'a\nb\n');
});

test('a character that is written in two parts', async t => {
  const { file, state } = await followed(t, '');
  const bytes = Buffer.from('€\n');
  await appendFile(file, bytes.subarray(0, 1));
  await sleep(50);
  await appendFile(file, bytes.subarray(1));
  await reads(t, state, '€\n');
});

test('rotation: the end of the old file, then the new one', async t => {
  const { file, state } = await followed(t, 'a\n');
  await reads(t, state, 'a\n');
  await rename(file, `${file}.1`);
  await appendFile(`${file}.1`, 'late\n');
  await sleep(50);
  await writeFile(file, 'new\n');
  await reads(t, state, 'a\nlate\nnew\n');
  await appendFile(file, 'more\n');
  await reads(t, state, 'a\nlate\nnew\nmore\n');
});

test('a file cut short is read from its start', async t => {
  const { file, state } = await followed(t, 'a long line\n');
  await reads(t, state, 'a long line\n');
  await truncate(file);
  await sleep(50);
  await appendFile(file, 'b\n');
  await reads(t, state, 'a long line\nb\n');
});

test('a file that is not there is an error at once', async t => {
  await t.throwsAsync(followFile('/no/such/file').next(), { code: 'ENOENT' });
});
