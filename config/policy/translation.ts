// What the translators share: where a part of a document stands, and how to report what is wrong with it.

import type { Problem, SourcedDocument } from './compile.ts';

export type Path = readonly (string | number)[];

/** One document under translation. */
export class Translation {
  readonly document: SourcedDocument;
  /** Whether the gateway acts on `tls`. */
  readonly readsServerNames: boolean;
  readonly #problems: Problem[];

  constructor(document: SourcedDocument, readsServerNames: boolean, problems: Problem[]) {
    this.document = document;
    this.readsServerNames = readsServerNames;
    this.#problems = problems;
  }

  /** `file:line` of the part at this path. */
  originOf(path: Path): string {
    return `${this.document.file}:${this.document.locate(path).line}`;
  }

  error(path: Path, message: string, remedy: string): void {
    this.#report('error', path, message, remedy);
  }

  warn(path: Path, message: string, remedy: string): void {
    this.#report('warning', path, message, remedy);
  }

  #report(severity: Problem['severity'], path: Path, message: string, remedy: string): void {
    const { file } = this.document;
    this.#problems.push({ file, ...this.document.locate(path), severity, message, remedy });
  }
}
