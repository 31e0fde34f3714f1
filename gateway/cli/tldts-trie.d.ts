// The public suffix list as tldts ships it, which it does not export: a flat trie of labels from the right. The version
// is pinned, and a test holds what is read from it.

declare module 'tldts/dist/cjs/src/data/trie.js' {
  /** 0 where no rule ends. */
  export const nodeFlags: Uint8Array;
  /** For each node the first of its edges; the next node's first is the end. */
  export const edgeStart: ArrayLike<number>;
  export const edgeChild: ArrayLike<number>;
  /** Lengths of the labels, which stand one after another in `labelText`. */
  export const edgeLength: ArrayLike<number>;
  export const labelText: string;
  export const rulesRoot: number;
}
