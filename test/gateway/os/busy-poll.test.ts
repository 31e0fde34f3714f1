// When a loop asks for answers instead of sleeping: only where they come soon, and seldom in vain.

import test from 'ava';
import fc from 'fast-check';
import { BusyPoll } from '../../../gateway/os/busy-poll.ts';

const ms = 0.05;

/** One wait for an answer that comes after so long: asked through or slept, as it goes. Returns whether it was asked in vain. */
function wait(poll: BusyPoll, answerMs: number): boolean {
  const asked = poll.isOn;
  if (asked) poll.polled(answerMs <= poll.ms);
  if (asked && answerMs <= poll.ms) return false;
  poll.slept(answerMs);
  return asked;
}

const waits = (poll: BusyPoll, count: number, answerMs: number) =>
  Array.from({ length: count }, () => wait(poll, answerMs)).filter(Boolean).length;

test('answers that come soon are asked for after eight short sleeps', t => {
  const poll = new BusyPoll(ms);
  waits(poll, 8, 0.1);
  t.true(poll.isOn);
  waits(poll, 100, 0.02);
  t.is(poll.answered, 100);
});

test('answers that take long are never asked for', t => {
  const poll = new BusyPoll(ms);
  t.is(waits(poll, 10_000, 0.2), 0);
  t.false(poll.isOn);
});

test('one long sleep among the short ones begins the count anew', t => {
  const poll = new BusyPoll(ms);
  waits(poll, 7, 0.02);
  waits(poll, 1, 5);
  waits(poll, 7, 0.02);
  t.false(poll.isOn);
});

test('tries in vain become rare: one for 1,024 waits', t => {
  const poll = new BusyPoll(ms);
  waits(poll, 10_000, 0.1);
  t.true(waits(poll, 10_240, 0.1) <= 5 * 10);
});

test('after a try that did well the next is as soon as the first', t => {
  const poll = new BusyPoll(ms);
  waits(poll, 10_000, 0.1);
  while (!poll.isOn) wait(poll, 0.1);
  waits(poll, 16, 0.02);
  while (poll.isOn) wait(poll, 0.1);
  waits(poll, 8, 0.1);
  t.true(poll.isOn);
});

test('who asks anew begins the count anew', t => {
  const poll = new BusyPoll(ms);
  waits(poll, 7, 0.1);
  poll.askedBy(1);
  waits(poll, 7, 0.1);
  t.false(poll.isOn);
  waits(poll, 1, 0.1);
  t.true(poll.isOn);
  poll.askedBy(1);
  t.true(poll.isOn);
  poll.askedBy(2);
  t.false(poll.isOn);
});

test('a time of 0 never asks', t => {
  const poll = new BusyPoll(0);
  waits(poll, 1_000, 0);
  t.false(poll.isOn);
  t.is(poll.answered + poll.vain, 0);
});

test('whatever comes: waits in vain are at most a quarter of those that were answered, and five for eight sleeps', t => {
  const answers = fc.array(fc.tuple(fc.constantFrom(0.01, 0.1, 0.4), fc.integer({ min: 1, max: 60 })), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(answers, runs => {
      const poll = new BusyPoll(ms);
      let slept = 0;
      for (const [answerMs, count] of runs)
        for (let at = 0; at < count; at++) {
          if (!poll.isOn) slept += 1;
          wait(poll, answerMs);
        }
      const tries = Math.floor(slept / 8);
      return poll.vain <= poll.answered / 4 + 5 * tries;
    }),
  );
  t.pass();
});
