// Many names under one owner to one pattern. It never folds at or across a public suffix, and never a name that the
// list knows no owner of: a pattern must not open what belongs to someone else.

import { holdsPublicSuffix, registrableDomain } from './public-suffixes.ts';

/** A pattern, or a name by itself, with the names seen that it stands for. */
export interface FoldedName {
  readonly pattern: string;
  readonly names: readonly string[];
}

/**
 * `*.example.com` for names that lead to at least `siblings` different labels below `example.com`, at the highest place
 * where that is so; other names stay. `siblings` of 0 folds nothing. Every name is under exactly one pattern, its own
 * name aside.
 */
export function foldNames(names: readonly string[], siblings: number): FoldedName[] {
  const byDomain = Map.groupBy(names, name => registrableDomain(name) ?? '');
  return [...byDomain].flatMap(([domain, its]) =>
    domain === '' || siblings === 0 ? its.map(alone) : foldBelow(domain, its, siblings),
  );
}

function alone(name: string): FoldedName {
  return { pattern: name, names: [name] };
}

/** `names` are `parent` itself or stand below it. */
function foldBelow(parent: string, names: readonly string[], siblings: number): FoldedName[] {
  const own = names.filter(name => name === parent);
  const below = names.filter(name => name !== parent);
  const byChild = Map.groupBy(below, name => childOf(parent, name));
  if (byChild.size >= siblings && !holdsPublicSuffix(parent))
    return [...own.map(alone), { pattern: `*.${parent}`, names: below }];
  return [...own.map(alone), ...[...byChild].flatMap(([child, its]) => foldBelow(child, its, siblings))];
}

/** The name one label longer than `parent` that `name` is or stands below. */
function childOf(parent: string, name: string): string {
  const labels = name.slice(0, -parent.length - 1);
  return `${labels.slice(labels.lastIndexOf('.') + 1)}.${parent}`;
}
