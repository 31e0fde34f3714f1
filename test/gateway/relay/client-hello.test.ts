// The ClientHello machine against hellos that a real TLS stack wrote, in every cut, and against bytes that are none.

import test from 'ava';
import fc from 'fast-check';
import { ClientHelloMachine, type Hello, mostHelloBytes } from '../../../gateway/relay/client-hello.ts';
import { clientHello, inRecords } from '../../support/client-hello.ts';

const read = (bytes: Buffer): Hello | null => new ClientHelloMachine().push(bytes);

function readInPieces(bytes: Buffer, size: number): Hello | null {
  const machine = new ClientHelloMachine();
  for (let at = 0; at < bytes.length; at += size) {
    const hello = machine.push(bytes.subarray(at, at + size));
    if (hello) return hello;
  }
  return null;
}

const expected: Hello = { kind: 'tls', serverName: 'api.example.com', encryptedHello: false };

test('a real hello with a name', async t => {
  t.deepEqual(read(await clientHello('api.example.com')), expected);
});

test('a real hello without a name', async t => {
  t.deepEqual(read(await clientHello(null)), { ...expected, serverName: null });
});

test('TLS 1.2 alone', async t => {
  t.deepEqual(read(await clientHello('api.example.com', { maxVersion: 'TLSv1.2' })), expected);
});

test('a hello over 1,500 bytes', async t => {
  const ALPNProtocols = Array.from({ length: 200 }, (_, i) => `protocol-number-${i}`);
  const hello = await clientHello('api.example.com', { ALPNProtocols });
  t.true(hello.length > 1_500);
  t.deepEqual(read(hello), expected);
});

test('the same, whatever the records and the segments', async t => {
  const hello = await clientHello('api.example.com');
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.integer({ min: 1, max: 600 }), (record, segment) => {
      t.deepEqual(readInPieces(inRecords(hello, record), segment), expected);
    }),
    { numRuns: 200 },
  );
});

test('a cut hello asks for more at every byte and never guesses', async t => {
  const hello = inRecords(await clientHello('api.example.com'), 40);
  for (let length = 1; length < hello.length; length++) t.is(read(hello.subarray(0, length)), null);
  t.deepEqual(read(hello), expected);
});

for (const [what, bytes] of [
  ['HTTP', 'GET / HTTP/1.1\r\n\r\n'],
  ['SSH', 'SSH-2.0-x\r\n'],
  ['a handshake byte with another version', '\x16\x02\x00\x00\x05hello'],
  ['one NUL', '\x00'],
] as const) {
  test(`not TLS: ${what}`, t => {
    t.is(read(Buffer.from(bytes, 'latin1'))?.kind, 'other');
  });
}

/** Puts other bytes at a place of a real hello. */
async function altered(at: (hello: Buffer) => number, bytes: number[]): Promise<Buffer> {
  const hello = Buffer.from(await clientHello('api.example.com'));
  hello.set(bytes, at(hello));
  return hello;
}

const nameAt = (hello: Buffer) => hello.indexOf('api.example.com');

test('unreadable: an empty record', async t => {
  t.is(read(await altered(() => 3, [0, 0]))?.kind, 'unreadable');
});

test('unreadable: a record over 2^14 bytes, and one of just that many is read', async t => {
  t.is(read(await altered(() => 3, [0x40, 0x01]))?.kind, 'unreadable');
  t.is(read(await altered(() => 3, [0x40, 0x00]))?.kind, 'tls');
});

test('unreadable: another handshake message than ClientHello', async t => {
  t.is(read(await altered(() => 5, [2]))?.kind, 'unreadable');
});

test('unreadable: a record of another type in the middle', async t => {
  const hello = inRecords(await clientHello('api.example.com'), 40);
  hello[45] = 0x14;
  t.is(read(hello)?.kind, 'unreadable');
});

test('unreadable: a name with a control byte, and a name type that is no host name', async t => {
  t.is(read(await altered(nameAt, [0]))?.kind, 'unreadable');
  t.is(read(await altered(hello => nameAt(hello) - 3, [1]))?.kind, 'unreadable');
});

test('unreadable: a second server_name extension', async t => {
  const hello = Buffer.from(await clientHello('api.example.com'));
  // The type of some other extension becomes server_name: walk to the one after it.
  const list = nameAt(hello) - 9;
  const after = list + 4 + hello.readUInt16BE(list + 2);
  hello.writeUInt16BE(0, after);
  t.is(read(hello)?.kind, 'unreadable');
});

test('unreadable: a hello that says it is longer than the limit', async t => {
  const [high, middle, low] = [
    (mostHelloBytes >> 16) & 255,
    (mostHelloBytes >> 8) & 255,
    mostHelloBytes & 255,
  ];
  t.is(read(await altered(() => 6, [high, middle, low]))?.kind, 'unreadable');
});

test('whatever comes: never a throw, never more held than the limit', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (tail, tls) => {
      const bytes = Buffer.concat([tls ? Buffer.from([0x16, 3, 1]) : Buffer.alloc(0), tail]);
      const hello = read(bytes);
      t.true(hello === null || ['tls', 'other', 'unreadable'].includes(hello.kind));
    }),
    { numRuns: 2_000 },
  );
  const machine = new ClientHelloMachine();
  let pushed = 0;
  let hello: Hello | null = null;
  // Records of one byte each that promise a message just under the limit: the headers count too.
  const first = Buffer.from([0x16, 3, 1, 0, 4, 1, 0, 0x7f, 0xf0]);
  hello = machine.push(first);
  while (hello === null && pushed < 3 * mostHelloBytes) {
    hello = machine.push(Buffer.from([0x16, 3, 1, 0, 1, 0]));
    pushed += 6;
  }
  t.is(hello?.kind, 'unreadable');
  t.true(pushed <= mostHelloBytes + 16);
});
