// The pool of pipes over a kernel that only counts: never more in use than the bound, none handed out twice, what may
// hold bytes never again, nothing left open that nobody has, and whoever asks is told of all that is open.

import test from 'ava';
import fc from 'fast-check';
import type { Kernel, Pipe } from '../../../gateway/os/kernel.ts';
import { PipePool } from '../../../gateway/os/pipe-pool.ts';

const mostKept = 64;

/** Gives out descriptors as long as it is told to, and knows which are open. None is closed while it is marked. */
class CountingKernel {
  readonly owned = new Uint8Array(1_000);
  readonly open = new Set<number>();
  readonly asked: [bytes: number, least: number][] = [];
  isExhausted = false;
  #last = 100;

  pipe(bytes: number, least: number): Pipe | null {
    this.asked.push([bytes, least]);
    if (this.isExhausted) return null;
    const pipe = { readEnd: ++this.#last, writeEnd: ++this.#last };
    this.open.add(pipe.readEnd).add(pipe.writeEnd);
    return pipe;
  }

  close(descriptor: number): void {
    if (!this.open.delete(descriptor)) throw new Error(`closed ${descriptor}, which is not open`);
    if (this.owned[descriptor] !== 0) throw new Error(`closed ${descriptor} before its mark was taken back`);
  }

  get marked(): Set<number> {
    return new Set([...this.owned.keys()].filter(descriptor => this.owned[descriptor] === 1));
  }
}

function poolOf(most: number) {
  const kernel = new CountingKernel();
  return { kernel, pool: new PipePool(kernel as unknown as Kernel, 1_000_000, most, kernel.owned) };
}

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.constant({ kind: 'take' as const, at: 0 }) },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constantFrom('giveBack' as const, 'discard'), at: fc.nat(200) }),
    },
  ),
  { maxLength: 120, size: 'max' },
);

test('whatever is taken, given back and discarded: bounded, no pipe twice, none lost', t => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 12 }), (all, most) => {
      const { kernel, pool } = poolOf(most);
      const held: Pipe[] = [];
      const discarded = new Set<number>();
      for (const { kind, at } of all) {
        if (kind === 'take') {
          const pipe = pool.take();
          t.is(pipe === null, held.length >= most);
          if (pipe === null) continue;
          t.false(held.some(({ readEnd }) => readEnd === pipe.readEnd));
          t.false(discarded.has(pipe.readEnd));
          t.true(kernel.open.has(pipe.readEnd) && kernel.open.has(pipe.writeEnd));
          held.push(pipe);
        } else if (held.length > 0) {
          const [pipe] = held.splice(at % held.length, 1) as [Pipe];
          pool[kind](pipe);
          if (kind === 'discard') {
            discarded.add(pipe.readEnd);
            t.false(kernel.open.has(pipe.readEnd) || kernel.open.has(pipe.writeEnd));
          }
        }
        t.is(pool.inUse, held.length);
        t.true(kernel.open.size <= 2 * most);
      }
      t.deepEqual(kernel.marked, kernel.open, 'in use or kept, each is marked');
    }),
  );
});

test('a pipe that came back empty is the next one, and the kernel is not asked', t => {
  const { kernel, pool } = poolOf(10);
  const pipe = pool.take()!;
  pool.giveBack(pipe);
  t.is(pool.take(), pipe);
  t.is(kernel.asked.length, 1);
});

test('of those that rest, no more are kept than the bound', t => {
  const { kernel, pool } = poolOf(200);
  const pipes = Array.from({ length: 200 }, () => pool.take()!);
  t.is(pool.take(), null);
  t.is(kernel.open.size, 400);
  for (const pipe of pipes) pool.giveBack(pipe);
  t.is(pool.inUse, 0);
  t.is(kernel.open.size, 2 * mostKept);
  t.deepEqual(kernel.marked, kernel.open);
});

test('descriptors past what can be marked serve all the same, and so do those of nobody who asks', t => {
  const kernel = new CountingKernel();
  for (const owned of [new Uint8Array(102), null]) {
    const pool = new PipePool(kernel as unknown as Kernel, 1_000_000, 10, owned);
    const pipes = [pool.take()!, pool.take()!];
    for (const pipe of pipes) pool.discard(pipe);
    t.is(kernel.open.size, 0);
    t.false(owned?.includes(1) ?? false);
  }
});

test('where the kernel has none, nothing counts as in use; kept ones still serve', t => {
  const { kernel, pool } = poolOf(10);
  const pipe = pool.take()!;
  kernel.isExhausted = true;
  t.is(pool.take(), null);
  t.is(pool.inUse, 1);
  pool.giveBack(pipe);
  t.is(pool.take(), pipe);
  t.is(pool.take(), null);
  t.is(pool.inUse, 1);
});

test('asks for its capacity, and takes no pipe that is too small to be worth it', t => {
  const { kernel, pool } = poolOf(1);
  pool.take();
  t.deepEqual(kernel.asked, [[1_000_000, 65_536]]);
});
