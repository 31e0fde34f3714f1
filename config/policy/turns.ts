// Long computations cut into turns, so that compiling a large policy does not hold up the sessions of the process.
// A computation is a generator that yields between pieces of a few milliseconds; it knows no event loop.

/** A computation that yields where it may be interrupted, and returns its result. */
export type Turns<T> = Generator<void, T, void>;

/** Runs to the end at once. */
export function finish<T>(turns: Turns<T>): T {
  for (;;) {
    const { done, value } = turns.next();
    if (done) return value as T;
  }
}

/** Runs to the end, waiting for `pause` between pieces. What the computation throws rejects. */
export async function finishInTurns<T>(turns: Turns<T>, pause: () => Promise<void>): Promise<T> {
  for (;;) {
    const { done, value } = turns.next();
    if (done) return value as T;
    await pause();
  }
}

/** Items of one piece: about a millisecond of the work done here on each. */
const pieceSize = 500;

/** Does `work` on each item, in pieces. */
export function* eachInTurns<T>(items: Iterable<T>, work: (item: T) => void): Turns<void> {
  let count = 0;
  for (const item of items) {
    work(item);
    if (++count % pieceSize === 0) yield;
  }
}

/** Sorted as `Array.prototype.sort` does it (stable), in pieces: runs of one piece each, merged two by two. */
export function* sortInTurns<T>(items: readonly T[], compare: (one: T, other: T) => number): Turns<T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < items.length; at += pieceSize) {
    runs.push(items.slice(at, at + pieceSize).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let at = 0; at < runs.length; at += 2)
      merged.push(yield* merge(runs[at]!, runs[at + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* merge<T>(
  one: readonly T[],
  other: readonly T[],
  compare: (one: T, other: T) => number,
): Turns<T[]> {
  const merged: T[] = [];
  let left = 0;
  let right = 0;
  while (left < one.length && right < other.length) {
    const isLeft = compare(one[left]!, other[right]!) <= 0;
    merged.push(isLeft ? one[left++]! : other[right++]!);
    if (merged.length % (4 * pieceSize) === 0) yield;
  }
  return merged.concat(one.slice(left), other.slice(right));
}
