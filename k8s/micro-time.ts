// The two spellings of time in Kubernetes objects, from a Date. It reads no clock.

/** `metav1.MicroTime`: RFC 3339 in UTC with six digits. A Date knows three; the rest are zeros. */
export function microTime(date: Date): string {
  return date.toISOString().replace('Z', '000Z');
}

/** `metav1.Time`: RFC 3339 in UTC, whole seconds. */
export function secondTime(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, 'Z');
}
