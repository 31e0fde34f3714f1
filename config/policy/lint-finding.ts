// What a check finds, and the annotation by which the author of an object says that it is meant.

import type { Part } from './lint-model.ts';

/** One finding of a check, before it has its id. */
export interface Found extends Part {
  /** The object whose annotation may silence it. */
  readonly policy: Annotated;
  readonly message: string;
  /** What to do here; what the table says otherwise. */
  readonly remedy?: string;
}

interface Annotated {
  readonly value: { readonly metadata: { readonly annotations?: Record<string, string> | undefined } };
}

/** Ids of checks that do not hold for an object, separated by anything: `SP004 SP008`, with a reason if one likes. */
export const lintIgnoreAnnotation = 'sallyport.dev/lint-ignore';

export function ignoredIds({ metadata }: Annotated['value']): readonly string[] {
  return metadata.annotations?.[lintIgnoreAnnotation]?.match(/\bSP\d{3}\b/g) ?? [];
}
