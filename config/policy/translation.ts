// What the translators share: where a part of a document stands, and how to report what is wrong with it.

import type { Problem, SourcedDocument } from './compile.ts';
import { quote } from './quote.ts';

export type Path = readonly (string | number)[];

/** `spec.rules[0].to`; keys that are no plain words in quotes. */
export function pathText(path: Path): string {
  const steps = path.map(step => {
    if (typeof step === 'number') return `[${step}]`;
    return /^[\w-]+$/.test(step) ? `.${step}` : `[${quote(step)}]`;
  });
  return steps.join('').replace(/^\./, '');
}

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

  /** `file:line` of the part at this path; of an object of a cluster, `cluster:Kind/namespace/name`. */
  originOf(path: Path): string {
    const { file, fromCluster } = this.document;
    return fromCluster ? file : `${file}:${this.document.locate(path).line}`;
  }

  error(path: Path, message: string, remedy: string): void {
    this.#report('error', path, message, remedy);
  }

  warn(path: Path, message: string, remedy: string): void {
    this.#report('warning', path, message, remedy);
  }

  #report(severity: Problem['severity'], path: Path, message: string, remedy: string): void {
    const { file, fromCluster } = this.document;
    const place = { file, ...this.document.locate(path) };
    if (fromCluster)
      this.#problems.push({
        ...place,
        fromCluster,
        severity,
        message: `${pathText(path)}: ${message}`,
        remedy,
      });
    else this.#problems.push({ ...place, severity, message, remedy });
  }
}
