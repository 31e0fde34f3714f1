// What an importer has to say beside the objects it makes: what it left out, what would be wider, what changed.
// The rule of all importers: nothing becomes wider in silence, and what cannot be kept is not allowed.

import type { Problem } from '../policy/compile.ts';
import type { ImportedObject } from './objects.ts';

export interface ImportOptions {
  /** Take translations that allow more than the original, where there is no exact one. Each is said all the same. */
  readonly wider: boolean;
  /** For objects that name no namespace of their own; null leaves them out. */
  readonly namespace: string | null;
}

export interface Imported {
  readonly objects: readonly ImportedObject[];
  /** Warnings; an error where nothing could be translated. */
  readonly problems: readonly Problem[];
}

export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export class Notes {
  readonly problems: Problem[] = [];
  readonly options: ImportOptions;
  readonly #once = new Set<string>();

  constructor(options: ImportOptions) {
    this.options = options;
  }

  /** Something is allowed no more, or is not said at all: the result is narrower than the original. */
  leftOut(place: Place, what: string, remedy: string): void {
    this.#warn(place, `left out: ${what}`, remedy);
  }

  /** A Deny became wider, since part of what limits it cannot be kept. */
  closed(place: Place, what: string, remedy: string): void {
    this.#warn(place, `denies more than before: ${what}`, remedy);
  }

  /**
   * There is no exact translation, only one that allows more. Whether it is taken is the caller's of the import to say:
   * true takes it.
   */
  wider(place: Place, what: string, instead: string): boolean {
    if (this.options.wider) this.#warn(place, `allows more than before: ${what}`, `became ${instead}`);
    else this.leftOut(place, what, `write the names that are meant, or take ${instead} with --wider`);
    return this.options.wider;
  }

  /** The meaning is kept on a condition, or in another shape, that the reader has to know. */
  changed(place: Place, what: string, remedy: string): void {
    this.#warn(place, what, remedy);
  }

  /** What holds for a whole import is said once. */
  once(place: Place, what: string, remedy: string): void {
    if (this.#once.has(what)) return;
    this.#once.add(what);
    this.#warn(place, what, remedy);
  }

  /** Nothing can come of this. */
  failed(place: Place, message: string, remedy: string): void {
    this.problems.push({ ...placeOf(place), severity: 'error', message, remedy });
  }

  #warn(place: Place, message: string, remedy: string): void {
    this.problems.push({ ...placeOf(place), severity: 'warning', message, remedy });
  }
}

function placeOf({ file, line, column }: Place): Place {
  return { file, line, column };
}
