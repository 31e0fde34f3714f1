// Lines of logs: split anywhere they are the same, too long ones are told as such, memory stays bounded.

import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { readLines, readLogs } from '../../../gateway/cli/record-lines.ts';
import { folderOf } from './folder.ts';

async function linesOf(chunks: Iterable<Buffer | string>) {
  const lines: (string | null)[] = [];
  const bytes = await readLines(Readable.from(chunks, { objectMode: true }), line => void lines.push(line));
  return { lines, bytes };
}

test('lines, whatever they end in', async t => {
  const cases: [text: string, expected: string[]][] = [
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\nb', ['a', 'b']],
    ['\n\na\n\n', ['', '', 'a', '']],
    ['é\r\nü', ['é\r', 'ü']],
  ];
  for (const [text, expected] of cases) {
    t.deepEqual((await linesOf([text])).lines, expected);
    t.deepEqual(await linesOf([Buffer.from(text)]), { lines: expected, bytes: Buffer.byteLength(text) });
  }
});

test('split anywhere, the lines are the same', async t => {
  const line = fc.string({ unit: fc.constantFrom('a', 'é', '😀', '{', '\r'), maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 8 }),
      fc.array(fc.nat(200), { maxLength: 8 }),
      async (lines, cuts) => {
        const bytes = Buffer.from(lines.map(each => `${each}\n`).join(''));
        const at = [0, ...cuts.map(cut => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
        t.deepEqual((await linesOf(chunks)).lines, lines);
      },
    ),
    { numRuns: 300 },
  );
});

const mebibyte = 1024 * 1024;

test('a line of 1 MiB is told, a longer one is not, and the next one is', async t => {
  for (const size of [mebibyte, mebibyte + 1, 5 * mebibyte])
    for (const chunk of [1000, 300_000, 8 * mebibyte]) {
      const bytes = Buffer.concat([Buffer.alloc(size, 'x'), Buffer.from('\nnext\n')]);
      const chunks = Array.from({ length: Math.ceil(bytes.length / chunk) }, (_, i) =>
        bytes.subarray(i * chunk, (i + 1) * chunk),
      );
      const { lines } = await linesOf(chunks);
      t.is(lines.length, 2);
      t.is(lines[0]?.length, size > mebibyte ? undefined : size);
      t.is(lines[1], 'next');
    }
  t.deepEqual((await linesOf([Buffer.alloc(2 * mebibyte, 'x')])).lines, [null]);
});

test('files one after another, compressed ones, and standard input', async t => {
  const folder = await folderOf(t, { a: 'one\ntwo\n', 'b.gz': gzipSync('three\nfour\n'), c: 'five' });
  const lines: (string | null)[] = [];
  const stdin = Readable.from(['in\n'], { objectMode: false });
  const files = [join(folder, 'a'), join(folder, 'b.gz'), '-', join(folder, 'c')];
  const bytes = await readLogs(files, stdin, line => void lines.push(line));
  t.deepEqual(lines, ['one', 'two', 'three', 'four', 'in', 'five']);
  t.is(bytes, 8 + 11 + 3 + 4);
});

test('what cannot be read is said by name', async t => {
  const folder = await folderOf(t, {
    'torn.gz': gzipSync('x'.repeat(5000)).subarray(0, 20),
    'no.gz': 'plain',
  });
  const cases: [string, RegExp][] = [
    ['gone', /cannot read ".*gone": ENOENT/],
    ['.', /it is a folder/],
    ['torn.gz', /cannot read ".*torn\.gz": unexpected end of file/],
    ['no.gz', /cannot read ".*no\.gz": incorrect header check/],
    ['gone.gz', /cannot read ".*gone\.gz": ENOENT/],
  ];
  for (const [file, message] of cases)
    await t.throwsAsync(
      readLogs([join(folder, file)], Readable.from([]), () => {}),
      { message },
    );
});
