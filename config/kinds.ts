// What a document claims to be: its apiVersion and kind against those that are known.
// It looks at nothing else of the document.

import type { z } from 'zod';
import type { YamlDocument } from './documents.ts';
import type { Problem } from './policy/compile.ts';
import { quote } from './policy/quote.ts';
import { show } from './schema-problems.ts';
import { suggest } from './suggest.ts';

export interface Kind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly schema: z.ZodType;
}

/** The kind of the document among `known`, or what is wrong with its claim. */
export function kindOf(document: YamlDocument, known: readonly Kind[]): Kind | Problem {
  const value = document.value;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return problem(
      document,
      [],
      `wrong document, wanted a mapping with apiVersion and kind, got ${show(value)}`,
      '',
    );
  const { apiVersion, kind } = value as Record<string, unknown>;
  const named = known.filter(each => each.kind === kind);
  if (named.length === 0) return unfit(document, 'kind', kind, unique(known.map(each => each.kind)));
  const found = named.find(each => each.apiVersion === apiVersion);
  return found ?? unfit(document, 'apiVersion', apiVersion, unique(named.map(each => each.apiVersion)));
}

/** A `kind: List` (as `kubectl get -o yaml` prints it) as its items, each of which knows its own place. */
export function unfoldLists(document: YamlDocument): YamlDocument[] {
  const list = document.value as { kind?: unknown; apiVersion?: unknown; items?: unknown } | null;
  if (list?.kind !== 'List' || list.apiVersion !== 'v1' || !Array.isArray(list.items)) return [document];
  return list.items.map((value, at) => ({
    value,
    file: document.file,
    locate: path => document.locate(['items', at, ...path]),
    locateKey: path => document.locateKey(['items', at, ...path]),
  }));
}

function unfit(document: YamlDocument, key: string, given: unknown, wanted: readonly string[]): Problem {
  const oneOf = wanted.length === 1 ? wanted[0]! : `one of ${wanted.join(', ')}`;
  if (given === undefined)
    return problem(document, [], `missing key "${key}", wanted ${oneOf}`, `try ${key}: ${wanted[0]}`);
  const meant = (typeof given === 'string' && suggest(given, wanted)) || (wanted.length === 1 && wanted[0]);
  const shown = typeof given === 'string' ? quote(given) : show(given);
  return problem(
    document,
    [key],
    `unknown ${key} ${shown}, wanted ${oneOf}`,
    meant ? `try ${quote(meant)}` : `try ${oneOf}`,
  );
}

function problem(document: YamlDocument, path: readonly string[], message: string, remedy: string): Problem {
  const shownRemedy = remedy || 'try apiVersion: and kind: as its first lines';
  return { file: document.file, ...document.locate(path), severity: 'error', message, remedy: shownRemedy };
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
