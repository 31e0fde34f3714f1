// Checks a document against a schema, and says what does not fit: where, what was wanted, what was given, what to try.
// It accepts nothing itself and reads nothing: the schemas decide, this explains.

import type { z } from 'zod';
import type { Path, YamlDocument } from './documents.ts';
import type { Problem } from './policy/compile.ts';
import { quote } from './policy/quote.ts';
import { pathText } from './policy/translation.ts';
import { suggest } from './suggest.ts';

type Issue = z.core.$ZodIssue;

/**
 * What the schema makes of the document, or every reason why it takes it not.
 *
 * Schemas say in `error` what was wanted, as a noun (`a duration such as 10s`). A custom issue with `params.remedy`
 * says in its message what is wrong instead, and in the remedy what to write; with `params.isSecret` the value, which may
 * hold a password, is not repeated.
 */
export function checkDocument<T>(
  schema: z.ZodType<T>,
  document: YamlDocument,
): { value: T; problems: null } | { value: null; problems: Problem[] } {
  const result = schema.safeParse(document.value, { error: wantedBySchema });
  if (result.success) return { value: result.data, problems: null };
  const faults = result.error.issues.flatMap(issue => faultsOf(issue, [], document.value));
  return { value: null, problems: withoutEchoes(faults).map(fault => problemOf(fault, document)) };
}

/** One thing wrong, before it has a place. */
interface Fault {
  readonly path: Path;
  readonly message: string;
  readonly remedy: string;
  /**
   * An unknown key stands at its key; what is missing, at what should have held it; the rest, at the value.
   * `whole`: what a check of several keys together found.
   */
  readonly kind: 'unknown' | 'missing' | 'value' | 'whole';
  /** Of an unknown key: the known one it was probably meant to be. */
  readonly meant?: string;
}

const separator = '\n';

/**
 * What was wanted, for the issues of schemas that do not say so themselves; of unknown keys, the known ones.
 * The library asks for it while it still knows which schema refused.
 */
function wantedBySchema(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return Object.keys((issue.inst as z.ZodObject).shape).join(separator);
    case 'invalid_type':
      return wantedTypes[issue.expected] ?? issue.expected;
    case 'invalid_value':
      return oneOf(issue.values.map(String));
    case 'too_small':
      return `at least ${bound(issue.minimum, issue.origin)}`;
    case 'too_big':
      return `at most ${bound(issue.maximum, issue.origin)}`;
    default:
      return '';
  }
}

const wantedTypes: Record<string, string> = {
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function bound(limit: number | bigint, origin: string): string {
  if (origin === 'array') return limit === 1 ? '1 entry' : `${limit} entries`;
  if (origin === 'string') return limit === 1 ? '1 character' : `${limit} characters`;
  return String(limit);
}

function faultsOf(issue: Issue, base: Path, document: unknown): Fault[] {
  const path = [...base, ...issue.path.map(step => (typeof step === 'symbol' ? String(step) : step))];
  if (issue.code === 'unrecognized_keys') return issue.keys.map(key => unknownKey(key, issue.message, path));
  if (issue.code === 'invalid_union') return faultsOfUnion(issue, path, document);
  return [faultOfValue(issue, path, valueAt(document, path))];
}

/** Names shown of a long list; the suggestion is made of all. */
const namesShown = 15;

function listed(names: readonly string[]): string {
  if (names.length <= namesShown) return names.join(', ');
  return `${names.slice(0, namesShown).join(', ')} and ${names.length - namesShown} more`;
}

/** `a`, `a or b`, `a, b or c`. */
function oneOf(texts: readonly string[]): string {
  return [texts.slice(0, -1).join(', '), texts.at(-1)].filter(Boolean).join(' or ');
}

function unknownKey(key: string, known: string, path: Path): Fault {
  const keys = known.split(separator);
  const meant = suggest(key, keys);
  return {
    path: [...path, key],
    message: `unknown key ${quote(key)}, wanted one of ${listed(keys)}`,
    remedy: meant === null ? 'try removing it' : `try ${quote(meant)}`,
    kind: 'unknown',
    ...(meant !== null && { meant }),
  };
}

function faultOfValue(issue: Issue, path: Path, given: unknown): Fault {
  const { remedy, isSecret } = (issue.code === 'custom' && issue.params) || {};
  if (typeof remedy === 'string') {
    const shown = isScalar(given) && !isSecret ? `, got ${show(given)}` : '';
    const kind = isScalar(given) ? 'value' : 'whole';
    return { path, message: `${textOf(path)}: ${issue.message}${shown}`, remedy, kind };
  }
  if (given === undefined) return missing(path, issue.message);
  return {
    path,
    message: `wrong value for ${textOf(path)}, wanted ${issue.message}, got ${show(given)}`,
    remedy: remedyFor(issue, given),
    kind: 'value',
  };
}

function missing(path: Path, wanted: string): Fault {
  const key = String(path.at(-1) ?? '');
  const where = path.length > 1 ? ` in ${textOf(path.slice(0, -1))}` : '';
  return {
    path,
    message: `missing key ${quote(key)}${where}, wanted ${wanted}`,
    remedy: `try adding ${key}:`,
    kind: 'missing',
  };
}

/** Empty where nothing better can be said than what was wanted. */
function remedyFor(issue: Issue, given: unknown): string {
  const example = /such as ([^\s,]+)/.exec(issue.message);
  if (example) return `try ${example[1]}`;
  if (issue.code === 'invalid_value') return nearestValue(issue.values.map(String), given);
  if (issue.code === 'too_big') return isNumeric(issue.origin) ? `try ${issue.maximum}` : 'try fewer';
  if (issue.code === 'too_small') return isNumeric(issue.origin) ? `try ${issue.minimum}` : 'try adding one';
  if (issue.code === 'invalid_union')
    return (
      issue.errors
        .flat()
        .map(inner => remedyFor(inner, given))
        .find(Boolean) ?? ''
    );
  return issue.code === 'invalid_type' ? remedyForType(issue.expected, given) : '';
}

function isNumeric(origin: string): boolean {
  return origin === 'number' || origin === 'int';
}

function nearestValue(values: readonly string[], given: unknown): string {
  const meant = typeof given === 'string' ? suggest(given, values) : null;
  return meant === null && values.length > 1 ? '' : `try ${meant ?? values[0]}`;
}

function remedyForType(expected: string, given: unknown): string {
  if (given === null) return 'try removing the key, or giving it a value';
  if (!isScalar(given)) return '';
  if (expected === 'string') return `try quotes: "${String(given)}"`;
  if (expected === 'array') return `try [${show(given)}]`;
  return isNumeric(expected) && /^\d+$/.test(String(given)) ? `try ${given}, without quotes` : '';
}

/** An alternative was wanted and none fits: explains by the one that was probably meant, else by all together. */
function faultsOfUnion(issue: z.core.$ZodIssueInvalidUnion, path: Path, document: unknown): Fault[] {
  const given = valueAt(document, path);
  const branches = issue.errors.map(issues => issues.flatMap(inner => faultsOf(inner, path, document)));
  const meant = isScalar(given) ? undefined : nearest(branches, path);
  if (meant) return meant;
  const wanted = issue.message || oneOf([...new Set(issue.errors.flatMap(ofTheWhole))]);
  return [faultOfValue({ ...issue, message: wanted }, path, given)];
}

/** What an alternative wanted in place of the whole value. */
function ofTheWhole(issues: readonly Issue[]): string[] {
  return issues
    .filter(({ code, path }) => path.length === 0 && code !== 'unrecognized_keys')
    .map(({ message }) => message);
}

/** The alternative with the least wrong; undefined where several are equally far. */
function nearest(branches: readonly Fault[][], path: Path): Fault[] | undefined {
  const ranked = branches
    .map(faults => ({ faults, distance: faults.reduce((sum, fault) => sum + weight(fault, path), 0) }))
    .sort((one, other) => one.distance - other.distance);
  const [first, second] = ranked;
  const clear = first && (!second || first.distance < second.distance);
  return clear ? first.faults : undefined;
}

/** A slip inside the value tells less against an alternative than a key that it does not know at all. */
function weight(fault: Fault, path: Path): number {
  if (fault.path.length === path.length) return 10;
  if (fault.path.length > path.length + 1) return 0.25;
  return fault.kind === 'value' ? 0.25 : fault.meant === undefined ? 1 : 0.5;
}

/**
 * Without what only follows from a misspelt key: the missing key that it was meant to be (`listners` is one mistake,
 * not two), and what a check of the whole mapping said while it could not see that key.
 */
function withoutEchoes(faults: readonly Fault[]): Fault[] {
  const misspelt = faults.filter(({ meant }) => meant !== undefined);
  const meant = new Set(misspelt.map(({ path, meant }) => textOf([...path.slice(0, -1), meant!])));
  const around = new Set(misspelt.map(({ path }) => textOf(path.slice(0, -1))));
  return faults.filter(({ kind, path }) => {
    if (kind === 'missing') return !meant.has(textOf(path));
    return kind !== 'whole' || !around.has(textOf(path));
  });
}

function problemOf({ path, kind, message, remedy }: Fault, document: YamlDocument): Problem {
  const place =
    kind === 'unknown'
      ? document.locateKey(path)
      : document.locate(kind === 'missing' ? path.slice(0, -1) : path);
  return { file: document.file, ...place, severity: 'error', message, remedy };
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, step) => (at as Record<string | number, unknown> | null | undefined)?.[step],
    value,
  );
}

/** `listeners[0].port`. */
function textOf(path: Path): string {
  return path.length === 0 ? 'the document' : pathText(path);
}

function isScalar(value: unknown): value is string | number | boolean | null {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

/** A value for a message: short, printable and on one line. */
export function show(value: unknown): string {
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (value === null || value === undefined) return 'nothing';
  return typeof value === 'object' ? 'a mapping' : String(value);
}
