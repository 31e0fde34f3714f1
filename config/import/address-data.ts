// Address data (lines of `first,last,country` or `first,last,number,owner`) to one destination set: every block of the
// countries or autonomous systems asked for. It reads what it is given, and keeps no database.

import { parseAddress } from '../policy/address.ts';
import { rangeBlocks } from './blocks.ts';
import { type Imported, type ImportOptions, Notes } from './notes.ts';
import { destinationSet } from './objects.ts';

export interface AddressSelection {
  /** Name of the set. */
  readonly name: string;
  /** Countries (`KP`) or numbers of autonomous systems (`64496`, `AS64496`). */
  readonly keys: readonly string[];
}

export function importAddressData(
  files: readonly { text: string; file: string }[],
  { name, keys }: AddressSelection,
  options: ImportOptions,
): Imported {
  const notes = new Notes(options);
  const wanted = new Set(keys.map(key => key.toUpperCase().replace(/^AS(?=\d)/, '')));
  const cidrs = files.flatMap(({ text, file }) => blocksOf(text, file, wanted, notes));
  const place = { file: files[0]?.file ?? '', line: 1, column: 1 };
  if (cidrs.length > 0) return { objects: [destinationSet({ name }, { cidrs })], problems: notes.problems };
  notes.failed(
    place,
    `no address of ${keys.join(', ')}`,
    'give the file of addresses, and a key of its third column',
  );
  return { objects: [], problems: notes.problems };
}

function blocksOf(text: string, file: string, wanted: ReadonlySet<string>, notes: Notes): string[] {
  const blocks: string[] = [];
  for (const [at, line] of text.split('\n').entries()) {
    const [first, last, key] = line.trim().split(',').map(unquoted);
    if (key === undefined || !wanted.has(key.toUpperCase())) continue;
    const [from, to] = [parseAddress(first!), parseAddress(last!)];
    const found = from && to ? rangeBlocks(from, to) : [];
    // A line that is lost would be a hole in a Deny.
    if (found.length === 0)
      notes.failed({ file, line: at + 1, column: 1 }, 'no range of addresses', 'correct the line');
    blocks.push(...found.map(({ text: block }) => block));
  }
  return blocks;
}

function unquoted(text: string): string {
  return text.replace(/^"(.*)"$/, '$1');
}
