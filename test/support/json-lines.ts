// Collects JSON Lines from a stream while it runs, and waits for a line that a test looks for.
// Strict: a line that is not one JSON object is an error. Lenient: it is kept as text only.

import type { Readable } from 'node:stream';
import { eventually } from './waiting.ts';

export interface JsonLines<T> {
  lines(): T[];
  waitFor(matches: (line: T) => boolean): Promise<T>;
  text(): string;
}

function parse<T>(line: string, mode: 'strict' | 'lenient'): T[] {
  if (line === '' && mode === 'lenient') return [];
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return [value as T];
  } catch {}
  if (mode === 'lenient') return [];
  throw new Error(`not a JSON object: ${JSON.stringify(line)}`);
}

export function jsonLines<T>(stream: Readable, mode: 'strict' | 'lenient'): JsonLines<T> {
  let text = '';
  const parsed: T[] = [];
  let parsedTo = 0;
  stream.setEncoding('utf8').on('data', chunk => {
    text += chunk;
  });
  const lines = () => {
    for (let end = text.indexOf('\n', parsedTo); end >= 0; end = text.indexOf('\n', parsedTo)) {
      parsed.push(...parse<T>(text.slice(parsedTo, end), mode));
      parsedTo = end + 1;
    }
    return parsed;
  };
  const tail = () => text.slice(-4_000);
  return {
    lines,
    waitFor: matches => eventually(() => lines().find(matches), 'a line', tail),
    text: () => text,
  };
}
