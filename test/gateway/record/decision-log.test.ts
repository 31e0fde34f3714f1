// The decision log against files that work, are full, or come and go: no line lost in silence, none written twice.

import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { DecisionLog } from '../../../gateway/record/decision-log.ts';
import { eventually } from '../../support/waiting.ts';

async function folderFor(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-log-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

function open(output: string, queueBytes = 1_000_000) {
  const troubles: (string | null)[] = [];
  const onTrouble = (error: NodeJS.ErrnoException | null) => troubles.push(error?.code ?? null);
  return { log: new DecisionLog({ output, queueBytes, onTrouble }), troubles };
}

const linesOf = async (file: string) => (await readFile(file, 'utf8')).split('\n').slice(0, -1);

test('every line once, in order, over many batches', async t => {
  const file = join(await folderFor(t), 'a.jsonl');
  const { log, troubles } = open(file, 100_000_000);
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i} ${'x'.repeat(i % 200)}`);
  for (const [i, line] of lines.entries()) {
    log.append(`${line}\n`);
    if (i % 3_000 === 0) await new Promise(resolve => setTimeout(resolve, 7));
  }
  t.is(await log.close(5_000), 0);
  t.deepEqual(await linesOf(file), lines);
  t.is(log.written, lines.length);
  t.deepEqual(troubles, []);
});

test('a full device: trouble is told, lines wait, and what no longer fits is counted', async t => {
  const { log, troubles } = open('/dev/full', 100);
  for (let i = 0; i < 30; i++) log.append('0123456789');
  await eventually(() => log.trouble ?? undefined, 'the failed write');
  t.is(log.trouble?.code, 'ENOSPC');
  t.deepEqual(troubles, ['ENOSPC']);
  t.is(log.queuedBytes, 100);
  t.is(log.dropped, 20);
  t.is(await log.close(300), 30, 'what waited is lost too, and counted');
  t.is(log.written, 0);
});

test('a line of just the queue fits, one byte more does not', t => {
  const { log } = open('/dev/full', 10);
  log.append('0123456789');
  t.is(log.dropped, 0);
  log.append('x');
  t.is(log.dropped, 1);
  return log.close(50).then(() => undefined);
});

test('rotation: after reopen lines go to the new file, and none is lost between', async t => {
  const folder = await folderFor(t);
  const file = join(folder, 'a.jsonl');
  const { log } = open(file);
  log.append('before\n');
  await eventually(() => log.written === 1 || undefined, 'the first line');
  await rename(file, `${file}.1`);
  log.append('between\n');
  await eventually(() => log.written === 2 || undefined, 'the second line');
  log.reopen();
  log.append('after\n');
  await log.close(5_000);
  t.deepEqual(await linesOf(`${file}.1`), ['before', 'between']);
  t.deepEqual(await linesOf(file), ['after']);
});

test('a file that cannot be opened again leaves the old one', async t => {
  const folder = await folderFor(t);
  const file = join(folder, 'a.jsonl');
  const { log } = open(file);
  await rename(folder, `${folder}-moved`);
  t.throws(() => log.reopen(), { code: 'ENOENT' });
  log.append('still\n');
  await log.close(5_000);
  t.deepEqual(await linesOf(join(`${folder}-moved`, 'a.jsonl')), ['still']);
  await rename(`${folder}-moved`, folder);
});

test('a process that ends without close writes what was queued', async t => {
  const file = join(await folderFor(t), 'a.jsonl');
  const { log } = open(file);
  log.append('one\n');
  log.append('two\n');
  log.flushSync();
  t.deepEqual(await linesOf(file), ['one', 'two']);
  t.is(await log.close(100), 0);
  t.deepEqual(await linesOf(file), ['one', 'two']);
});

test('a file that cannot be opened is an error at once', t => {
  t.throws(() => open('/nowhere/at/all.jsonl'), { code: 'ENOENT' });
});
