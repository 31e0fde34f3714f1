// Lines of the decision log on their way to the control thread: gathered, in order, bounded by what was not taken yet,
// and every line that does not fit, or that its thread took with it, is counted.

import test from 'ava';
import fc from 'fast-check';
import { type RecordBatch, RecordBatches } from '../../../gateway/threads/record-batches.ts';
import { ThreadMemory } from '../../../gateway/threads/thread-memory.ts';
import { HeldTimers } from '../../support/held-timers.ts';

function batches(mostBytes: number) {
  const timers = new HeldTimers();
  const memory = new ThreadMemory();
  const posted: RecordBatch[] = [];
  const subject = new RecordBatches(
    timers,
    memory,
    () => mostBytes,
    batch => posted.push(batch),
  );
  return { timers, memory, posted, subject };
}

const lines = (posted: readonly RecordBatch[]) => posted.map(batch => batch.lines).join('');

test('lines are gathered into one batch, in their order, with their number and their bytes', t => {
  const { timers, memory, posted, subject } = batches(1_000);
  for (const line of ['one\n', 'zwölf\n', 'three\n']) subject.append(line);
  t.is(timers.set.size, 1);
  t.deepEqual(posted, []);
  timers.goOff();
  const bytes = Buffer.byteLength('one\nzwölf\nthree\n');
  t.deepEqual(posted, [{ lines: 'one\nzwölf\nthree\n', count: 3, bytes }]);
  t.is(memory.recordBytes, bytes);
});

test('the next line after a batch sets a timer of its own', t => {
  const { timers, posted, subject } = batches(1_000);
  subject.append('one\n');
  timers.goOff();
  subject.append('two\n');
  t.is(timers.set.size, 1);
  timers.goOff();
  t.deepEqual(
    posted.map(batch => batch.lines),
    ['one\n', 'two\n'],
  );
});

test('a flush posts what there is at once and leaves no timer; without lines it posts nothing', t => {
  const { timers, posted, subject } = batches(1_000);
  subject.flush();
  subject.append('one\n');
  subject.flush();
  subject.flush();
  t.deepEqual(
    posted.map(batch => batch.lines),
    ['one\n'],
  );
  t.is(timers.set.size, 0);
});

test('much at once does not wait for the timer', t => {
  const { timers, posted, subject } = batches(10_000_000);
  const line = `${'x'.repeat(64 * 1024 - 1)}\n`;
  for (let at = 0; at < 3; at++) subject.append(line);
  t.is(posted.length, 0);
  subject.append(line);
  t.is(posted.length, 1);
  t.is(timers.set.size, 0);
});

test('exactly the bound fits, gathered and posted together; a byte more is counted', t => {
  const { memory, posted, subject } = batches(20);
  subject.append('posted: 10');
  subject.flush();
  subject.append('gathered 9');
  subject.append('x');
  t.is(memory.counter('recordsDropped'), 1);
  subject.flush();
  t.is(lines(posted), 'posted: 10gathered 9');
  memory.addRecordBytes(-posted[0]!.bytes);
  subject.append('there is room again'.slice(0, 10));
  subject.append('x');
  t.is(memory.counter('recordsDropped'), 2);
});

test('the bound is of bytes, not of characters', t => {
  const { memory, subject } = batches(9);
  subject.append('äöüäö');
  t.is(memory.counter('recordsDropped'), 1);
  subject.append('äöüä');
  t.is(memory.counter('recordsDropped'), 1);
});

test('lines that a thread gathered, or had on their way, when it died are counted, once', t => {
  const { memory, posted, subject } = batches(1_000);
  for (const line of ['taken\n', 'taken, too\n']) subject.append(line);
  subject.flush();
  memory.addRecordBytes(-posted[0]!.bytes);
  memory.addRecords(-posted[0]!.count);
  subject.append('on its way\n');
  subject.flush();
  for (const line of ['gathered\n', 'gathered, too\n']) subject.append(line);
  t.is(memory.counter('recordsDropped'), 0);
  for (let death = 0; death < 2; death++) {
    memory.threadDied();
    t.is(memory.counter('recordsDropped'), 3);
    t.is(memory.recordBytes, 0);
  }
});

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('append' as const), length: fc.nat(60) }) },
    { weight: 2, arbitrary: fc.constant({ kind: 'goOff' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'flush' as const }) },
    { weight: 2, arbitrary: fc.constant({ kind: 'taken' as const }) },
  ),
  { maxLength: 80, size: 'max' },
);

test('whatever comes: every line arrives once and in order, or is counted, and the bound holds', t => {
  fc.assert(
    fc.property(steps, all => {
      const { timers, memory, posted, subject } = batches(200);
      const accepted: string[] = [];
      let dropped = 0;
      let taken = 0;
      let held = 0;
      let arrived = 0;
      for (const [at, step] of all.entries()) {
        if (step.kind === 'goOff') timers.goOff();
        else if (step.kind === 'flush') subject.flush();
        else if (step.kind === 'append') {
          const line = `${at} ${'é'.repeat(step.length)}\n`;
          const bytes = Buffer.byteLength(line);
          subject.append(line);
          if (held + bytes > 200) dropped += 1;
          else {
            accepted.push(line);
            held += bytes;
          }
        } else if (taken < posted.length) {
          const { bytes, count } = posted[taken++]!;
          memory.addRecordBytes(-bytes);
          memory.addRecords(-count);
          held -= bytes;
          arrived += count;
        }
        t.is(memory.records, accepted.length - arrived);
        t.is(memory.counter('recordsDropped'), dropped);
        t.true(memory.recordBytes <= 200);
      }
      subject.flush();
      t.is(lines(posted), accepted.join(''));
      t.is(
        posted.reduce((sum, batch) => sum + batch.count, 0),
        accepted.length,
      );
      t.is(memory.recordBytes, held);
      t.is(timers.set.size, 0);
      memory.threadDied();
      t.is(memory.counter('recordsDropped'), dropped + accepted.length - arrived);
      t.is(memory.recordBytes + memory.records, 0);
    }),
  );
});
