// No bytes at all, made once: an empty buffer takes memory outside the heap like any other. It knows nothing else.

export const noBytes: Buffer = Buffer.alloc(0);
