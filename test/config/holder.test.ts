// The one mutable cell: swaps are whole, listeners cannot disturb each other.

import test from 'ava';
import { createHolder } from '../../config/holder.ts';

test('current is the value in force, frozen', t => {
  const holder = createHolder({ generation: 1 });
  const first = holder.current();
  t.deepEqual(holder.swap({ generation: 2 }), []);
  t.is(holder.current().generation, 2);
  t.is(first.generation, 1, 'who took the old value keeps it');
  t.throws(() => {
    holder.current().generation = 3;
  });
});

test('listeners hear each swap in order, until they leave', t => {
  const holder = createHolder({ n: 0 });
  const heard: string[] = [];
  const leave = holder.onSwap((current, previous) => heard.push(`a ${previous.n}->${current.n}`));
  holder.onSwap(current => heard.push(`b ${current.n}`));
  holder.swap({ n: 1 });
  leave();
  leave();
  holder.swap({ n: 2 });
  t.deepEqual(heard, ['a 0->1', 'b 1', 'b 2']);
});

test('one function that listens twice is two subscriptions', t => {
  const holder = createHolder({ n: 0 });
  let calls = 0;
  const listener = () => void calls++;
  const leave = holder.onSwap(listener);
  holder.onSwap(listener);
  leave();
  holder.swap({ n: 1 });
  t.is(calls, 1);
});

test('a listener that throws stops neither the swap nor the others', t => {
  const holder = createHolder({ n: 0 });
  const heard: number[] = [];
  const wrong = new Error('listener');
  holder.onSwap(() => {
    throw wrong;
  });
  holder.onSwap(({ n }) => heard.push(n));
  t.deepEqual(holder.swap({ n: 1 }), [wrong]);
  t.deepEqual(heard, [1]);
  t.is(holder.current().n, 1);
});

test('who leaves during a swap still hears that one, who comes hears the next', t => {
  const holder = createHolder({ n: 0 });
  const heard: string[] = [];
  let leave = () => {};
  holder.onSwap(({ n }) => {
    leave();
    if (n === 1) holder.onSwap(now => heard.push(`new ${now.n}`));
  });
  leave = holder.onSwap(({ n }) => heard.push(`old ${n}`));
  holder.swap({ n: 1 });
  holder.swap({ n: 2 });
  t.deepEqual(heard, ['old 1', 'new 2']);
});

test('a swap inside a listener is refused: the others would hear the older value last', t => {
  const holder = createHolder({ n: 0 });
  holder.onSwap(() => void holder.swap({ n: 9 }));
  const thrown = holder.swap({ n: 1 });
  t.regex(String(thrown[0]), /listener/);
  t.is(holder.current().n, 1);
});
