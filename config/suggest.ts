// "Did you mean": the nearest of the known words to a misspelt one.
// It only proposes; nothing is ever accepted because it is nearly right.

/** Longer words are not compared: the cost grows with the square of the length, and the text comes from outside. */
const longestWord = 64;

/**
 * The known word nearest to `given`, or null when none is near enough to be a slip of the hand
 * (one edit for up to four letters, two from five, one more for each three). Case is free of charge: `deny` suggests `Deny`.
 */
export function suggest(given: string, known: readonly string[]): string | null {
  if (given.length > longestWord) return null;
  const allowed = Math.max(1, Math.floor((given.length + 1) / 3));
  let best: string | null = null;
  let bestDistance = allowed + 1;
  for (const word of known) {
    const distance = editDistance(given.toLowerCase(), word.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [word, distance];
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, beforePrevious[j - 2]! + 1);
      row.push(cost);
    }
    [beforePrevious, previous] = [previous, row];
  }
  return previous[b.length]!;
}
