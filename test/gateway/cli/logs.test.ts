// `sallyport logs`: streams of every shape to tables and lines; what is no record is counted and never trusted.

import { once } from 'node:events';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { runCommand } from '../../../gateway/cli/commands.ts';
import { closingPipe, run } from './run.ts';

const record = (id: number, verdict: string | null = 'allow', event = 'session') =>
  JSON.stringify({
    time: '2026-11-23T16:05:01.123Z',
    event,
    id: String(id),
    client: { address: `10.0.0.${id}` },
    destination: { host: 'é.example', port: 443 },
    ...(verdict && { decision: { verdict } }),
  });
const log = (...lines: string[]) => lines.map(line => `${line}\n`).join('');

test('a table from standard input, with or without a dash', async t => {
  for (const argv of [['logs'], ['logs', '-']]) {
    const { code, stdout, stderr } = await run(argv, { stdin: log(record(1), record(2)) });
    t.is(code, 0);
    t.is(stderr, '');
    t.is(stdout.trimEnd().split('\n').length, 3);
    t.regex(stdout, /^TIME .*\n.* 10\.0\.0\.1 .*\n.* 10\.0\.0\.2 .*\n$/);
  }
});

test('a table from a file', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-logs-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'log'), log(record(1)));
  const { code, stdout } = await run(['logs', join(folder, 'log')], { isTTY: true });
  t.is(code, 0);
  t.true(stdout.includes('10.0.0.1'));
  t.true(stdout.includes('\x1b['), 'colour on a terminal');
});

test('without a file, a terminal as input is misuse: nothing would ever come', async t => {
  t.is((await run(['logs'], { isTTY: true })).code, 2);
});

test('a file that cannot be read', async t => {
  for (const argv of [
    ['logs', '/no/such'],
    ['logs', '--follow', '/no/such'],
    ['logs', '/'],
  ]) {
    const { code, stderr } = await run(argv);
    t.is(code, 1);
    t.regex(stderr, /^sallyport logs: cannot read: /);
  }
});

test('only one verdict', async t => {
  const stdin = log(record(1), record(2, 'deny'), record(3, null), record(4, 'deny'));
  const idsOf = async (...options: string[]) => {
    const { stdout } = await run(['logs', '--output', 'json', ...options], { stdin });
    return stdout
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line).id);
  };
  t.deepEqual(await idsOf(), ['1', '2', '3', '4']);
  t.deepEqual(await idsOf('--verdict', 'deny'), ['2', '4']);
  t.deepEqual(await idsOf('--verdict=allow'), ['1']);
});

test('other events are left out in silence, empty lines too', async t => {
  const { stdout, stderr } = await run(['logs', '--output', 'json'], {
    stdin: log(record(1, 'allow', 'progress'), '', '{"msg":"listening"}', record(2)),
  });
  t.is(stdout, `${record(2)}\n`);
  t.is(stderr, '');
});

test('what is no record is left out and counted, and the rest shown', async t => {
  const stdin = log('nonsense', record(1), '[1]', 'null', '"text"', record(2).slice(0, -5), record(3));
  const { code, stdout, stderr } = await run(['logs', '--output', 'json'], { stdin });
  t.is(code, 0);
  t.is(stdout, log(record(1), record(3)));
  t.is(stderr, 'sallyport logs: 5 lines of 7 are no records and were left out, the first on line 1\n');
});

test('a file without any record is no log', async t => {
  const { code, stderr } = await run(['logs'], { stdin: 'a\n' });
  t.is(code, 1);
  t.is(stderr, 'sallyport logs: 1 line of 1 is no record and was left out, the first on line 1\n');
  t.is((await run(['logs'], { stdin: '' })).code, 0);
});

test('a last line without a line feed', async t => {
  const whole = await run(['logs', '--output', 'json'], { stdin: record(1) });
  t.is(whole.stdout, `${record(1)}\n`);
  const cut = await run(['logs', '--output', 'json'], { stdin: `${record(1)}\n${record(2).slice(0, 20)}` });
  t.is(cut.stdout, `${record(1)}\n`);
  t.regex(cut.stderr, /^sallyport logs: 1 line of 2 /);
});

test('split anywhere, the lines are the same', async t => {
  const bytes = Buffer.from(log(record(1), 'x', record(2, 'deny')));
  const { stdout: whole } = await run(['logs', '--output', 'json'], { stdin: bytes.toString() });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 6 }), async cuts => {
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
      const stdin = Readable.from(
        chunks.filter(chunk => chunk.length > 0),
        { objectMode: false },
      );
      t.is((await run(['logs', '--output', 'json'], { stdin })).stdout, whole);
    }),
    { numRuns: 60 },
  );
});

test('a line over 1 MiB is no record, whatever it says, and the next one is read', async t => {
  const longest = JSON.stringify({ event: 'session', padding: 'x'.repeat(1024 * 1024 - 100) });
  const tooLong = JSON.stringify({ event: 'session', padding: 'x'.repeat(5 * 1024 * 1024) });
  const chunks = (text: string) => text.match(/.{1,65536}/gs)!;
  const stdin = Readable.from(chunks(log(longest, tooLong, record(1))), { objectMode: false });
  const { stdout, stderr } = await run(['logs', '--output', 'json'], { stdin });
  t.deepEqual(
    stdout.split('\n').map(line => line.length),
    [longest.length, record(1).length, 0],
  );
  t.regex(stderr, /^sallyport logs: 1 line of 3 is no record .* line 2\n$/);
});

test('JSON output is JSON that a terminal does not act on', async t => {
  const nasty = { event: 'session', id: '\x1b[2J\x9b\u202e\u2028\u{e0001}é' };
  const { stdout } = await run(['logs', '--output', 'json'], { stdin: log(JSON.stringify(nasty)) });
  t.notRegex(stdout.trimEnd(), /[\p{C}\p{Zl}]/u);
  t.deepEqual(JSON.parse(stdout), nasty);
});

test('lines are shown as they come, not at the end', async t => {
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  const done = runCommand(['logs'], { serve: async () => 0, stdin, stdout, stderr: new PassThrough() });
  stdin.write(log(record(1)));
  const [first] = (await stdout.take(1).toArray()) as Buffer[];
  t.regex(String(first), /10\.0\.0\.1/);
  stdin.end();
  t.is(await done, 0);
});

test('--follow shows what is added to the file, until its reader goes away', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-logs-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = join(folder, 'log');
  await writeFile(file, log(record(1)));
  const stdout = new PassThrough();
  const parts = { serve: async () => 1, stdout, stderr: new PassThrough() };
  const done = runCommand(['logs', '--follow', file], parts);
  const next = async () => String((await once(stdout, 'data'))[0]);
  t.regex(await next(), /10\.0\.0\.1/);
  const second = next();
  await appendFile(file, log(record(2, 'deny')));
  t.regex(await second, /10\.0\.0\.2/);
  stdout.destroy();
  await appendFile(file, log(record(3)));
  t.is(await done, 0);
});

test('a reader that goes away ends the command', async t => {
  const stdout = closingPipe(10_000);
  let taken = 0;
  const stdin = Readable.from(
    (function* () {
      for (; taken < 10_000; taken++) yield log(record(1), record(2), record(3));
    })(),
    { objectMode: false },
  );
  const code = await runCommand(['logs'], { serve: async () => 1, stdin, stdout, stderr: new PassThrough() });
  t.is(code, 0);
  t.true(taken < 2_000, 'long before the end of the log');
});
