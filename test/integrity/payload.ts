// What one direction of one tunnel carries: bytes that follow from the seed, the tunnel and the direction alone, so that
// each end knows every byte the other must send. Nothing is stored or copied for a tunnel: all are windows of one block.
// A byte that is lost, doubled, changed, moved or of another tunnel is seen where it stands, not only in a sum.

export type Direction = 'up' | 'down';

/** A prime, so that no loss of whole pages, pipes or buffers comes out at the same bytes again. */
const blockBytes = 4_194_301;

/** One step of a well mixed sequence of 32-bit numbers (SplitMix32). */
export function mixed(value: number): number {
  let state = (value + 0x9e3779b9) | 0;
  state = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
  state = Math.imul(state ^ (state >>> 15), 0x735a2d97);
  return (state ^ (state >>> 15)) >>> 0;
}

/** The bytes that every payload is a window of: one block, the same wherever it is made from this seed. */
export function makeBlock(seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(blockBytes / 4));
  let state = mixed(seed);
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return Buffer.from(words.buffer, 0, blockBytes);
}

/** TLSPlaintext.type of a handshake (RFC 8446, section 5.1): what begins so would be read as a ClientHello. */
const handshake = 0x16;

/** Never begins like TLS unless `prefix` does. */
function startIn(block: Buffer, tunnel: number, direction: Direction): number {
  let start = mixed(mixed(tunnel) ^ (direction === 'up' ? 0x5bd1e995 : 0)) % block.length;
  while (block[start] === handshake) start = (start + 1) % block.length;
  return start;
}

export class Payload {
  readonly #block: Buffer;
  readonly #start: number;
  readonly #prefix: Buffer;

  constructor(block: Buffer, tunnel: number, direction: Direction, prefix: Buffer = Buffer.alloc(0)) {
    this.#block = block;
    this.#start = startIn(block, tunnel, direction);
    this.#prefix = prefix;
  }

  /** From `position` on, at least one byte and `most` at most: a view, not a copy. */
  slice(position: number, most: number): Buffer {
    if (position < this.#prefix.length) return this.#prefix.subarray(position, position + most);
    const at = (this.#start + position - this.#prefix.length) % this.#block.length;
    return this.#block.subarray(at, at + most);
  }

  /** Where the first wrong byte of `chunk` is, which came at `position`; null when all are right. */
  wrongAt(position: number, chunk: Buffer): number | null {
    for (let at = 0; at < chunk.length; ) {
      const wanted = this.slice(position + at, chunk.length - at);
      const given = chunk.subarray(at, at + wanted.length);
      if (!given.equals(wanted)) return position + at + given.findIndex((byte, i) => byte !== wanted[i]);
      at += wanted.length;
    }
    return null;
  }
}
