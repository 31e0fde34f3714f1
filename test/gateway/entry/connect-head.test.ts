// The CONNECT head as a byte machine: in pieces the same as whole, strict line endings, bounds at their boundary.

import test from 'ava';
import fc from 'fast-check';
import { HeadMachine, parseConnectHead } from '../../../gateway/entry/connect-head.ts';
import { Failure } from '../../../gateway/session/failure.ts';

const limits = { requestHeadBytes: 1024, requestHeadFields: 8 };

type Outcome = { text: string; rest: string } | { failure: string } | null;

function outcome(chunks: Buffer[]): Outcome {
  const machine = new HeadMachine(limits);
  try {
    for (const [i, chunk] of chunks.entries()) {
      const whole = machine.push(chunk);
      if (whole)
        return {
          text: whole.text,
          rest: Buffer.concat([whole.rest, ...chunks.slice(i + 1)]).toString('latin1'),
        };
    }
    return null;
  } catch (error) {
    return { failure: (error as Failure).kind };
  }
}

/** Cuts at these places. */
function cut(bytes: Buffer, places: number[]): Buffer[] {
  const sorted = [...new Set(places.map(place => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const ends = [...sorted, bytes.length];
  return ends
    .map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))
    .filter(piece => piece.length > 0);
}

const line = fc.stringMatching(/^[!-~]{1,12}(: [ -~]{0,20})?$/);
const ending = fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n');
const head = fc
  .tuple(fc.array(fc.tuple(line, ending), { maxLength: 12 }), fc.constantFrom('\r\n', '', '\n'), fc.string())
  .map(([lines, end, rest]) => Buffer.from(lines.flat().join('') + end + rest, 'latin1'));

test('split anywhere, a head is the same as whole', t => {
  fc.assert(
    fc.property(head, fc.array(fc.nat(2_000), { maxLength: 20 }), (bytes, places) => {
      t.deepEqual(outcome(cut(bytes, places)), outcome([bytes]));
    }),
    { numRuns: 2_000 },
  );
});

test('byte by byte, a real head is the same as whole', t => {
  const bytes = Buffer.from('CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nX: y\r\n\r\nearly');
  const whole = outcome([bytes]);
  t.deepEqual(outcome([...bytes].map(byte => Buffer.of(byte))), whole);
  t.like(whole, { rest: 'early' });
});

/** A head of just so many bytes, its empty line included. */
const headOf = (length: number) => {
  const start = 'CONNECT a.example:443 HTTP/1.1\r\nX: ';
  return Buffer.from(`${start}${'y'.repeat(length - start.length - 4)}\r\n\r\n`);
};

test('the limit of bytes: at it, and one past it, whole and trickling', t => {
  const { requestHeadBytes: most } = limits;
  t.like(outcome([headOf(most)]), { rest: '' });
  t.deepEqual(outcome([headOf(most + 1)]), { failure: 'head-too-large' });
  t.deepEqual(outcome([...headOf(most + 1)].map(byte => Buffer.of(byte))), { failure: 'head-too-large' });
  t.like(outcome([Buffer.concat([headOf(most), Buffer.alloc(5_000)])]), {
    text: headOf(most).toString().slice(0, -4),
  });
});

test('the limit of fields: at it, and one past it', t => {
  const fields = (n: number) =>
    ['CONNECT a.example:1 HTTP/1.1', ...Array.from({ length: n }, (_, i) => `F${i}: x`)].join('\r\n');
  t.is(parseConnectHead(fields(8), limits).destination.host, 'a.example');
  t.throws(() => parseConnectHead(fields(9), limits), { instanceOf: Failure, message: /8 header fields/ });
});

const accepted: [what: string, lines: string[]][] = [
  ['HTTP/1.0 without Host', ['CONNECT a.example:443 HTTP/1.0']],
  ['HTTP/1.1 without Host', ['CONNECT a.example:443 HTTP/1.1']],
  ['Host with the port', ['CONNECT a.example:443 HTTP/1.1', 'Host: a.example:443']],
  ['Host without the port', ['CONNECT a.example:443 HTTP/1.1', 'Host: a.example']],
  ['Host in other letters', ['CONNECT a.example:443 HTTP/1.1', 'hOsT: A.EXAMPLE:443']],
  ['an empty Host', ['CONNECT a.example:443 HTTP/1.1', 'Host:']],
  ['Content-Length of 0', ['CONNECT a.example:443 HTTP/1.1', 'Content-Length: 0']],
  ['a value with bytes over 0x7f', ['CONNECT a.example:443 HTTP/1.1', 'X: caf\xe9']],
  ['a tab in a value', ['CONNECT a.example:443 HTTP/1.1', 'X: a\tb']],
];

for (const [what, lines] of accepted) {
  test(`accepted: ${what}`, t => {
    t.like(parseConnectHead(lines.join('\r\n'), limits).destination, { host: 'a.example', port: 443 });
  });
}

const refused: [what: string, lines: string[]][] = [
  ['another method', ['GET a.example:443 HTTP/1.1']],
  ['two spaces', ['CONNECT  a.example:443 HTTP/1.1']],
  ['HTTP/2.0', ['CONNECT a.example:443 HTTP/2.0']],
  ['HTTP/1.2', ['CONNECT a.example:443 HTTP/1.2']],
  ['no version', ['CONNECT a.example:443']],
  ['no port', ['CONNECT a.example HTTP/1.1']],
  ['port 0', ['CONNECT a.example:0 HTTP/1.1']],
  ['port 65536', ['CONNECT a.example:65536 HTTP/1.1']],
  ['a user', ['CONNECT u@a.example:443 HTTP/1.1']],
  ['a percent escape', ['CONNECT a%2eexample:443 HTTP/1.1']],
  ['a zone id', ['CONNECT [fe80::1%25eth0]:443 HTTP/1.1']],
  ['two Hosts, the same', ['CONNECT a.example:443 HTTP/1.1', 'Host: a.example:443', 'Host: a.example:443']],
  ['another Host', ['CONNECT a.example:443 HTTP/1.1', 'Host: b.example:443']],
  ['another port in Host', ['CONNECT a.example:443 HTTP/1.1', 'Host: a.example:80']],
  ['a folded field', ['CONNECT a.example:443 HTTP/1.1', 'X: a', ' b']],
  ['a space before the colon', ['CONNECT a.example:443 HTTP/1.1', 'Host : a.example:443']],
  ['a field without a name', ['CONNECT a.example:443 HTTP/1.1', ': x']],
  ['a NUL in a value', ['CONNECT a.example:443 HTTP/1.1', 'X: a\0b']],
  ['a bare CR in a value', ['CONNECT a.example:443 HTTP/1.1', 'X: a\rb']],
  ['content', ['CONNECT a.example:443 HTTP/1.1', 'Content-Length: 1']],
  ['chunked', ['CONNECT a.example:443 HTTP/1.1', 'Transfer-Encoding: chunked']],
];

for (const [what, lines] of refused) {
  test(`refused: ${what}`, t => {
    t.is(
      t.throws(() => parseConnectHead(lines.join('\r\n'), limits), { instanceOf: Failure })?.kind,
      'bad-request',
    );
  });
}

test('whatever the lines: a request or a Failure, nothing else', t => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary-ascii' }), { minLength: 1 }), lines => {
      try {
        parseConnectHead([`CONNECT ${lines[0]} HTTP/1.1`, ...lines.slice(1)].join('\r\n'), limits);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
      }
      t.pass();
    }),
    { numRuns: 2_000 },
  );
});
