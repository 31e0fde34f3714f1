// YAML text to plain values, each of which still knows where every part of it stood.
// It reads no file and knows no schema: load.ts reads, schema-problems.ts explains what does not fit.

import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  type Node,
  type ParsedNode,
  Parser,
  visit,
  type YAMLError,
} from 'yaml';
import type { Problem, SourcedDocument } from './policy/compile.ts';
import { plainAscii } from './policy/quote.ts';

/** Keys and list positions from the top of a document to a part of it. */
export type Path = readonly (string | number)[];

interface Position {
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

/** One YAML document of a file. */
export interface YamlDocument extends SourcedDocument {
  /** Where the key stands that is the last of `path`; the nearest part above it where there is none. */
  locateKey(path: Path): Position;
}

/** More than these is an error that says so: a file from outside must not exhaust the process. */
const documentLimits = {
  /** In one file. */
  documents: 10_000,
  /** Uses of anchors in one document, multiplied out: 100 is generous for people and nothing for a bomb. */
  aliases: 100,
  /** Errors reported for one document; the first ones are the cause of the rest. */
  errors: 20,
};

/**
 * Lexical tokens between two turns of the event loop, about 5 ms of work: a reload must not hold up sessions.
 * Composing one document is a single piece of work (about 0.7 ms for each KiB of it).
 */
const tokensPerTurn = 2_000;

/** The documents of a text that are sound YAML, and what is wrong with the others. Empty documents are left out. */
export async function parseDocuments(
  text: string,
  file: string,
): Promise<{ documents: YamlDocument[]; problems: Problem[] }> {
  const lines = lineStartsOf(text);
  const documents: YamlDocument[] = [];
  const problems: Problem[] = [];
  let count = 0;
  for await (const parsed of compose(text)) {
    if (++count > documentLimits.documents) {
      problems.push(tooMany(file, lines, parsed.range[0]));
      break;
    }
    const found = problemsOf(parsed, file, lines);
    problems.push(...found);
    if (found.length > 0) continue;
    const value = plainValue(parsed);
    if ('problem' in value) problems.push({ file, ...positionOf(lines, value.offset), ...value.problem });
    else if (value.value !== null) documents.push(sourced(value.value, file, parsed, lines));
  }
  return { documents, problems };
}

/** As `parseAllDocuments` of the library does it, but in turns. */
async function* compose(text: string): AsyncGenerator<Document.Parsed> {
  const composer = new Composer({
    prettyErrors: false,
    stringKeys: true,
    strict: true,
    uniqueKeys: true,
    logLevel: 'error',
  });
  const parser = new Parser();
  let tokens = 0;
  for (const lexeme of new Lexer().lex(text)) {
    if (++tokens % tokensPerTurn === 0) await nextTurn();
    for (const token of parser.next(lexeme)) yield* composer.next(token);
  }
  for (const token of parser.end()) yield* composer.next(token);
  yield* composer.end();
}

function problemsOf(parsed: Document.Parsed, file: string, lines: LineStarts): Problem[] {
  const found = [...parsed.errors, ...parsed.warnings];
  const exhausted = found.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  const shown = exhausted ? [exhausted] : found.slice(0, documentLimits.errors);
  return shown.map(error => ({ file, ...positionOf(lines, error.pos[0]), ...explain(error) }));
}

function explain(error: YAMLError): Fault {
  if (error.code === 'DUPLICATE_KEY')
    return fault('key given twice, wanted each key once', 'try removing one');
  if (error.code === 'RESOURCE_EXHAUSTION') return tooDeep;
  if (error.code === 'TAB_AS_INDENT') return fault('indentation with a tab, wanted spaces', 'try spaces');
  if (error.code === 'TAG_RESOLVE_FAILED')
    return fault('unknown tag, wanted plain YAML', 'try removing the tag');
  return fault(
    `not YAML: ${plainAscii(error.message, 200)}`,
    'try quoting the value, or see the line before',
  );
}

type Fault = Pick<Problem, 'severity' | 'message' | 'remedy'>;

function fault(message: string, remedy: string): Fault {
  return { severity: 'error', message, remedy };
}

const tooDeep = fault('YAML nested too deeply to read, wanted some tens of levels', 'try fewer levels');

/** The document as plain values, or why there are none: aliases that lead nowhere or unfold too far. */
function plainValue(parsed: Document.Parsed): { value: unknown } | { offset: number; problem: Fault } {
  try {
    return { value: parsed.toJS({ maxAliasCount: documentLimits.aliases }) };
  } catch (error) {
    const offset = parsed.contents?.range[0] ?? 0;
    if (!(error instanceof ReferenceError)) return { offset, problem: tooDeep };
    return unresolvedAlias(parsed) ?? { offset, problem: tooManyAliases };
  }
}

const tooManyAliases = fault(
  `aliases that unfold too far, wanted at most ${documentLimits.aliases} uses of an anchor`,
  'try writing the value out',
);

function unresolvedAlias(parsed: Document.Parsed): { offset: number; problem: Fault } | null {
  let found: { offset: number; problem: Fault } | null = null;
  visit(parsed, {
    Alias(_key, alias) {
      if (alias.resolve(parsed)) return undefined;
      const message = `alias without an anchor before it: *${plainAscii(alias.source, 64)}`;
      found = { offset: alias.range![0], problem: fault(message, 'try writing the value out') };
      return visit.BREAK;
    },
  });
  return found;
}

function tooMany(file: string, lines: LineStarts, offset: number): Problem {
  const message = `more than ${documentLimits.documents} documents in one file`;
  return { file, ...positionOf(lines, offset), ...fault(message, 'try several files') };
}

function sourced(value: unknown, file: string, parsed: Document.Parsed, lines: LineStarts): YamlDocument {
  return {
    value,
    file,
    locate: path => positionOf(lines, offsetsAt(parsed, path).value),
    locateKey: path => positionOf(lines, offsetsAt(parsed, path).key),
  };
}

/** Offsets at which the lines of a text start; the library's own count goes astray after some broken block scalars. */
type LineStarts = readonly number[];

function lineStartsOf(text: string): LineStarts {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

function positionOf(lines: LineStarts, offset: number): Position {
  let [low, high] = [0, lines.length];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (lines[middle]! <= offset) low = middle;
    else high = middle;
  }
  return { line: low + 1, column: offset - lines[low]! + 1 };
}

/** Offsets of the part at `path` and of its key (or list entry): those of the nearest part above it that exists. */
function offsetsAt(parsed: Document.Parsed, path: Path): { key: number; value: number } {
  const top = startOf(parsed.contents) ?? parsed.range[0];
  let offsets = { key: top, value: top };
  let node: unknown = parsed.contents;
  for (const step of path) {
    const child = childOf(resolved(node, parsed), step);
    if (!child) break;
    const key = startOf(child.key) ?? offsets.value;
    offsets = { key, value: startOf(child.value) ?? key };
    node = child.value;
  }
  return offsets;
}

function resolved(node: unknown, parsed: Document.Parsed): unknown {
  return isAlias(node) ? node.resolve(parsed) : node;
}

function childOf(node: unknown, step: string | number): { key: unknown; value: unknown } | null {
  if (isSeq(node)) {
    const item = node.items[Number(step)];
    return item === undefined ? null : { key: item, value: item };
  }
  if (!isMap(node)) return null;
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
  return pair ?? null;
}

function startOf(node: unknown): number | undefined {
  const part = isPair(node) ? node.key : node;
  return (part as Node | ParsedNode | null)?.range?.[0];
}
