// Takes one file out of a zip archive, by its central directory, and checks its CRC-32.
// For archives that were verified as a whole before: no encryption, no zip64, stored or deflated entries only.

import { crc32, inflateRawSync } from 'node:zlib';

interface Entry {
  method: number;
  crc: number;
  packedBytes: number;
  headerAt: number;
}

const endOfDirectory = 0x06054b50;
const directoryEntry = 0x02014b50;

function* entries(zip: Buffer): Generator<[name: string, entry: Entry]> {
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || zip.readUInt32LE(end) !== endOfDirectory) throw new Error('not a zip archive');
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    if (zip.readUInt32LE(at) !== directoryEntry) throw new Error('the zip directory is damaged');
    const nameBytes = zip.readUInt16LE(at + 28);
    yield [
      zip.toString('utf8', at + 46, at + 46 + nameBytes),
      {
        method: zip.readUInt16LE(at + 10),
        crc: zip.readUInt32LE(at + 16),
        packedBytes: zip.readUInt32LE(at + 20),
        headerAt: zip.readUInt32LE(at + 42),
      },
    ];
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
}

function content(zip: Buffer, entry: Entry): Buffer {
  const start =
    entry.headerAt + 30 + zip.readUInt16LE(entry.headerAt + 26) + zip.readUInt16LE(entry.headerAt + 28);
  const packed = zip.subarray(start, start + entry.packedBytes);
  if (entry.method === 0) return packed;
  if (entry.method === 8) return inflateRawSync(packed);
  throw new Error(`zip method ${entry.method}`);
}

/** Throws when there is no such file, or it is damaged. */
export function unzip(zip: Buffer, file: string): Buffer {
  for (const [name, entry] of entries(zip)) {
    if (name !== file) continue;
    const bytes = content(zip, entry);
    if (crc32(bytes) !== entry.crc) throw new Error(`${file} is damaged in the zip archive`);
    return bytes;
  }
  throw new Error(`no ${file} in the zip archive`);
}
