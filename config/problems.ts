// Problems of files as people read them: in the order of the files, one line each.
// It finds none; the loader, the schemas and the compiler do.

import type { Problem } from './policy/compile.ts';

/** `file:line:column: what, wanted, got, try`; warnings say so after the place. An object of a cluster has no line. */
export function formatProblem({ file, line, column, severity, message, remedy }: Problem): string {
  const kind = severity === 'warning' ? 'warning: ' : '';
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  return `${place}: ${kind}${message}${remedy === '' ? '' : `, ${remedy}`}`;
}

/** By file in the order the files were first mentioned, then by place; each problem once. */
export function inOrder(problems: readonly Problem[]): Problem[] {
  const files = [...new Set(problems.map(({ file }) => file))];
  const byText = new Map(problems.map(problem => [formatProblem(problem), problem]));
  return [...byText.values()].sort(
    (one, other) =>
      files.indexOf(one.file) - files.indexOf(other.file) ||
      one.line - other.line ||
      one.column - other.column,
  );
}
