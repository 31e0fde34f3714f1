// Documents on their way between two threads, in pieces of about a millisecond of work: taking a large policy apart or
// putting it together in one go would hold live sessions up. What arrives is what was sent; only positions deep inside
// a rule are coarser.

import type { SourcedDocument } from '../config/policy/compile.ts';

/** Line and column of a part, and the places of its own parts by key or index. */
interface Place {
  readonly at: readonly [line: number, column: number];
  readonly parts: Map<string, Place> | null;
}

/** A document as it crosses threads: functions cannot, so its positions come as a tree. */
interface PlacedDocument {
  readonly value: unknown;
  readonly file: string;
  readonly fromCluster: true | undefined;
  readonly places: Place;
}

/** Rules that belong to the last document that came: `spec.rules` of a long one. */
interface MoreRules {
  readonly rules: readonly unknown[];
  readonly places: readonly Place[];
}

export type Piece = { readonly documents: readonly PlacedDocument[] } | MoreRules;

/** Deep enough to name a rule and its parts: `spec.rules[3].to`. What is deeper is told by the part around it. */
const deepest = 4;
const rulesInPiece = 200;
const documentsInPiece = 100;

function placesOf(document: SourcedDocument, value: unknown, path: (string | number)[]): Place {
  const { line, column } = document.locate(path);
  const hasParts = typeof value === 'object' && value !== null && path.length < deepest;
  if (!hasParts) return { at: [line, column], parts: null };
  const parts = new Map<string, Place>();
  for (const [key, part] of Object.entries(value))
    parts.set(key, placesOf(document, part, [...path, Array.isArray(value) ? Number(key) : key]));
  return { at: [line, column], parts };
}

interface WithRules {
  readonly spec: { readonly rules: readonly unknown[] };
}

const rulesOf = (value: unknown): readonly unknown[] => {
  const rules = (value as Partial<WithRules>).spec?.rules;
  return Array.isArray(rules) ? rules : [];
};

const withoutRules = (value: unknown): unknown => {
  const { spec } = value as WithRules;
  return { ...(value as WithRules), spec: { ...spec, rules: [] } };
};

/** The documents in pieces; the rules of a long one follow it. */
export function* piecesOf(documents: Iterable<SourcedDocument>): Generator<Piece> {
  let batch: PlacedDocument[] = [];
  let rulesInBatch = 0;
  for (const document of documents) {
    const rules = rulesOf(document.value);
    const isLong = rules.length > rulesInPiece;
    const value = isLong ? withoutRules(document.value) : document.value;
    const { file, fromCluster } = document;
    batch.push({ value, file, fromCluster, places: placesOf(document, value, []) });
    rulesInBatch += isLong ? 0 : rules.length;
    if (!isLong && batch.length < documentsInPiece && rulesInBatch < rulesInPiece) continue;
    yield { documents: batch };
    [batch, rulesInBatch] = [[], 0];
    if (isLong) yield* rulePieces(document, rules);
  }
  if (batch.length > 0) yield { documents: batch };
}

function* rulePieces(document: SourcedDocument, rules: readonly unknown[]): Generator<MoreRules> {
  for (let at = 0; at < rules.length; at += rulesInPiece) {
    const slice = rules.slice(at, at + rulesInPiece);
    yield {
      rules: slice,
      places: slice.map((rule, i) => placesOf(document, rule, ['spec', 'rules', at + i])),
    };
  }
}

/** Puts together what comes in pieces. */
export class PiecesOfDocuments {
  readonly #placed: PlacedDocument[] = [];

  take(piece: Piece): void {
    if ('documents' in piece) this.#placed.push(...piece.documents);
    else addRules(this.#placed.at(-1)!, piece);
  }

  get documents(): SourcedDocument[] {
    return this.#placed.map(located);
  }
}

function addRules({ value, places }: PlacedDocument, more: MoreRules): void {
  const rules = (value as WithRules).spec.rules as unknown[];
  const parts = places.parts!.get('spec')!.parts!.get('rules')!.parts!;
  for (const [i, rule] of more.rules.entries()) {
    parts.set(String(rules.length), more.places[i]!);
    rules.push(rule);
  }
}

function located({ value, file, fromCluster, places }: PlacedDocument): SourcedDocument {
  return {
    value,
    file,
    ...(fromCluster && { fromCluster }),
    locate(path) {
      let place = places;
      for (const step of path) {
        const part = place.parts?.get(String(step));
        if (part === undefined) break;
        place = part;
      }
      const [line, column] = place.at;
      return { line, column };
    },
  };
}
