// resourceVersions as numbers. Kubernetes promises since 1.35 (KEP-5504), and API servers have always done it, that
// within one resource they are decimal integers that grow with every write; between resources they say nothing.

const form = /^(0|[1-9]\d{0,38})$/;

/** Whether it is a number at all: versions of an aggregated API may be anything. */
export function isVersion(text: unknown): text is string {
  return typeof text === 'string' && form.test(text);
}

/** Below 0 where `one` is the older of two versions of one resource. They are too large for a Number. */
export function compareVersions(one: string, other: string): number {
  return one.length - other.length || (one < other ? -1 : one > other ? 1 : 0);
}
