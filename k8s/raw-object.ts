// Objects as the API server sends them, read without trust: a part that is not what it should be is absent, and
// nothing throws. It knows no kind.

export type Fields = Readonly<Record<string, unknown>>;

/** Longest text taken: a label key, with its prefix, has at most 317 characters (RFC 1123 names have 253). */
const longestText = 512;

const nothing: Fields = Object.freeze({});

/** The mapping; an empty one for anything else. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : nothing;
}

/** The list; an empty one for anything else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The text; null for an empty or overlong one, and for anything else. */
export function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' && value.length <= longestText ? value : null;
}

/** `metav1.Time` to epoch milliseconds: RFC 3339 text, or the Date that typed clients make of it. Null otherwise. */
export function timeOf(value: unknown): number | null {
  const ms =
    value instanceof Date ? value.getTime() : typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}

/** A mapping of texts to texts, such as labels; null where a part of it is none. Absent is empty. */
export function textsOf(value: unknown): Readonly<Record<string, string>> | null {
  const texts = fieldsOf(value);
  for (const [key, text] of Object.entries(texts)) {
    if (textOf(key) === null || typeof text !== 'string' || text.length > longestText) return null;
  }
  return texts as Readonly<Record<string, string>>;
}
