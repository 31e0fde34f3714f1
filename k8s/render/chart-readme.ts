// The table of values in the chart's README, drawn from the comments of values.yaml: each comment that begins with
// "--" describes the key below it, and everything inside that key with it. Run it to write the file.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMap, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';

interface DescribedValue {
  /** Keys with dots between. */
  readonly key: string;
  readonly default: unknown;
  readonly description: string;
}

/** The text of a comment from its last "-- " on, in one line; null without one. */
function descriptionOf(comment: string | null | undefined): string | null {
  const [, text] = /(?:^|\n) -- ([\s\S]*)$/.exec(comment ?? '') ?? [];
  return text === undefined ? null : text.replaceAll(/\s*\n\s*/g, ' ').trim();
}

/** Where the parser puts the comment above a key: before it, or, above the first one, before the map. */
function commentOf({ key }: Pair, at: number, map: YAMLMap): string | null | undefined {
  return (isScalar(key) && key.commentBefore) || (at === 0 ? map.commentBefore : null);
}

function* described(map: YAMLMap, path: readonly string[]): Generator<DescribedValue> {
  for (const [at, pair] of map.items.entries()) {
    const here = [...path, String(isScalar(pair.key) ? pair.key.value : pair.key)];
    const description = descriptionOf(commentOf(pair, at, map));
    const value = pair.value;
    const json = isMap(value) || !value ? value : (value as { toJSON(): unknown }).toJSON();
    if (description !== null)
      yield { key: here.join('.'), default: isMap(value) ? value.toJSON() : json, description };
    else if (isMap(value) && value.items.length > 0) yield* described(value, here);
    else throw new Error(`values.yaml: no comment that begins with "--" above ${here.join('.')}`);
  }
}

/** @throws Error naming a value that nothing describes */
export function describedValues(text: string): DescribedValue[] {
  const document = parseDocument(text);
  if (document.errors.length > 0) throw document.errors[0]!;
  return [...described(document.contents as YAMLMap, [])];
}

const cell = (text: string) => text.replaceAll('|', '\\|');

/** Values of more than this many characters are left to values.yaml. */
const shownCharacters = 80;

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > shownCharacters ? 'see values.yaml' : `\`${cell(text)}\``;
}

const start = '<!-- table: values -->';
const end = '<!-- end -->';

/** The README with its table replaced by that of these values. */
export function readmeWithTable(readme: string, values: string): string {
  const rows = describedValues(values).map(
    ({ key, default: value, description }) => `| \`${key}\` | ${shown(value)} | ${cell(description)} |`,
  );
  const table = ['| value | default | what it says |', '| --- | --- | --- |', ...rows].join('\n');
  const [before, after] = [readme.split(start)[0], readme.split(end)[1]];
  return `${before}${start}\n\n${table}\n\n${end}${after}`;
}

if (import.meta.main) {
  const chart = join(import.meta.dirname, '../chart');
  const read = (name: string) => readFileSync(join(chart, name), 'utf8');
  writeFileSync(join(chart, 'README.md'), readmeWithTable(read('README.md'), read('values.yaml')));
}
