// Bytes that show every loss, doubling and reordering, and the helpers to send and compare much of them.
// Comparison is by whole content, never by length alone.

import { createHash, randomBytes } from 'node:crypto';

export const payload = (bytes: number): Buffer => randomBytes(bytes);

export const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
