// Names to items, found by suffix: all that is stored for the names a host lies below, label by label.
// A lookup reads the host once from its end and cuts no strings, so that it allocates nothing.

interface Entry<T> {
  readonly name: string;
  readonly items: T[];
}

/** Slots for each name; the more, the fewer comparisons. */
const slotsPerName = 4;

/** Built once; `seal` comes before the first lookup. */
export class SuffixTable<T> {
  readonly #entries = new Map<string, Entry<T>>();
  #slots: (readonly Entry<T>[] | undefined)[] = [];
  #mask = 0;

  add(name: string, item: T): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) this.#entries.set(name, { name, items: [item] });
    else entry.items.push(item);
  }

  /** Lays the names out by hash. */
  seal(): void {
    const size = 2 ** Math.ceil(Math.log2(this.#entries.size * slotsPerName + 1));
    const slots: Entry<T>[][] = new Array(size);
    for (const entry of this.#entries.values()) {
      const at = hashOf(entry.name) & (size - 1);
      const slot = slots[at];
      if (slot === undefined) slots[at] = [entry];
      else slot.push(entry);
    }
    this.#mask = size - 1;
    this.#slots = slots;
    this.#entries.clear();
  }

  /**
   * The items of the next name that `host` ends with, at or before position `cursor.at`; the longest comes last.
   * Begin with `startAt`; null when there are no more.
   */
  next(host: string, cursor: SuffixCursor): readonly T[] | null {
    while (--cursor.at > 0) {
      const code = host.charCodeAt(cursor.at);
      const slot = code === dot ? this.#slots[cursor.hash & this.#mask] : undefined;
      cursor.hash = step(cursor.hash, code);
      const found = slot === undefined ? null : itemsFor(slot, host, cursor.at + 1);
      if (found !== null) return found;
    }
    return null;
  }

  get isEmpty(): boolean {
    return this.#slots.length <= 1;
  }
}

/** Where a lookup has come to; one serves many lookups. */
export class SuffixCursor {
  at = 0;
  hash = 0;

  startAt(host: string): void {
    this.at = host.length;
    this.hash = 0;
  }
}

const dot = 46;

function itemsFor<T>(slot: readonly Entry<T>[], host: string, from: number): readonly T[] | null {
  for (let at = 0; at < slot.length; at++) {
    const { name, items } = slot[at]!;
    if (name.length === host.length - from && host.endsWith(name)) return items;
  }
  return null;
}

function step(hash: number, code: number): number {
  return (Math.imul(hash, 31) + code) | 0;
}

/** From the last character to the first, as a lookup reads. */
function hashOf(name: string): number {
  let hash = 0;
  for (let at = name.length - 1; at >= 0; at--) hash = step(hash, name.charCodeAt(at));
  return hash;
}
