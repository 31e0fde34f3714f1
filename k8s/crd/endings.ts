// Tables about parts of a schema, keyed by the end of the part's path. A path begins with the kind, `[]` stands for an
// item of a list and `{}` for a value of a map: `EgressPolicy.spec.rules[].to[].host`.

/** What the table says of this path: the entry with the longest key that the path ends in. */
export function byEnding<T>(table: Readonly<Record<string, T>>, path: string): T | undefined {
  const steps = path.split('.');
  for (let from = 0; from < steps.length; from++) {
    const ending = steps.slice(from).join('.');
    if (Object.hasOwn(table, ending)) return table[ending];
  }
  return undefined;
}
