// The SOCKS5 exchange as a byte machine: in pieces the same as whole, nothing lost, nothing read too far.

import test from 'ava';
import fc from 'fast-check';
import { SocksMachine, type SocksMessage, socksDestination } from '../../../gateway/entry/socks5.ts';
import { Failure } from '../../../gateway/session/failure.ts';

type Step = { type: string; [more: string]: unknown } | { failure: string } | { more: true };

const plain = (message: SocksMessage): Step =>
  message.type === 'methods' ? { type: 'methods', methods: [...message.methods] } : { ...message };

/** Feeds the pieces through a whole exchange, the way a connection does; what was not read comes last. */
function exchange(pieces: Buffer[], withPassword: boolean): { steps: Step[]; rest: string } {
  const machine = new SocksMachine(Number.POSITIVE_INFINITY);
  const steps: Step[] = [];
  const queue = [...pieces];
  const expected: ('password' | 'request')[] = withPassword ? ['password', 'request'] : ['request'];
  try {
    for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) {
      const done = machine.push(chunk);
      if (!done) continue;
      steps.push(plain(done.message));
      if (done.rest.length > 0) queue.unshift(done.rest);
      const next = expected.shift();
      if (!next) return { steps, rest: Buffer.concat(queue).toString('hex') };
      machine.expect(next);
    }
    steps.push({ more: true });
  } catch (error) {
    steps.push({ failure: (error as Failure).kind });
  }
  return { steps, rest: '' };
}

const greeting = fc
  .uint8Array({ minLength: 1, maxLength: 255 })
  .map(methods => Buffer.from([5, methods.length, ...methods]));
const password = fc
  .tuple(fc.uint8Array({ minLength: 1, maxLength: 255 }), fc.uint8Array({ maxLength: 255 }))
  .map(([user, secret]) => Buffer.from([1, user.length, ...user, secret.length, ...secret]));
const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(bytes => [1, ...bytes]),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => [4, ...bytes]),
  fc.uint8Array({ maxLength: 255 }).map(bytes => [3, bytes.length, ...bytes]),
);
const request = fc
  .tuple(fc.constantFrom(1, 1, 1, 2, 3, 0, 9), address, fc.nat(65_535))
  .map(([command, to, port]) => Buffer.from([5, command, 0, ...to, port >> 8, port & 255]));
const early = fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes));

test('split anywhere, an exchange is the same as message by message', t => {
  fc.assert(
    fc.property(
      greeting,
      password,
      request,
      early,
      fc.boolean(),
      fc.array(fc.nat(800), { maxLength: 12 }),
      (hello, secret, ask, tail, withPassword, places) => {
        const bytes = Buffer.concat(withPassword ? [hello, secret, ask, tail] : [hello, ask, tail]);
        const ends = [...new Set(places.map(place => place % bytes.length))].sort((a, b) => a - b);
        const pieces = [...ends, bytes.length].map((end, i) =>
          bytes.subarray(i === 0 ? 0 : ends[i - 1], end),
        );
        const cut = pieces.filter(piece => piece.length > 0);
        t.deepEqual(exchange(cut, withPassword), exchange([bytes], withPassword));
      },
    ),
    { numRuns: 1_500 },
  );
});

test('what follows the request is left for the tunnel', t => {
  const bytes = Buffer.from('050100' + '05010001' + '7f000001' + '01bb' + 'aabbcc', 'hex');
  const { steps, rest } = exchange([bytes], false);
  t.like(steps.at(-1), { type: 'request', command: 'connect', host: '127.0.0.1', port: 443 });
  t.is(rest, 'aabbcc');
});

const cases: [what: string, hex: string, failure: string][] = [
  ['version 4', '0401', 'bad-request'],
  ['no methods', '0500', 'bad-request'],
  ['version 4 in the request', '050100' + '0401000101010101' + '0050', 'bad-request'],
  ['an unknown command', '050100' + '05090001' + '01010101' + '0050', 'unsupported-command'],
  ['an unknown address type', '050100' + '05010002' + '01010101' + '0050', 'unsupported-address-type'],
];

for (const [what, hex, failure] of cases) {
  test(`refused: ${what}`, t => {
    t.deepEqual(exchange([Buffer.from(hex, 'hex')], false).steps.at(-1), { failure });
  });
}

test('refused: a password message of version 5, and an empty user', t => {
  for (const hex of ['050102' + '05', '050102' + '010000'])
    t.deepEqual(exchange([Buffer.from(hex, 'hex')], true).steps.at(-1), { failure: 'bad-request' });
});

test('255 bytes of user and of password', t => {
  const [user, secret] = ['u'.repeat(255), 'p'.repeat(255)];
  const bytes = Buffer.concat([
    Buffer.from('050102', 'hex'),
    Buffer.from([1, 255]),
    Buffer.from(user),
    Buffer.from([255]),
    Buffer.from(secret),
  ]);
  t.deepEqual(exchange([bytes], true).steps[1], {
    type: 'password',
    credentials: { user, password: secret },
  });
});

const destinations: [what: string, host: string, port: number, wanted: string | null][] = [
  ['a name', 'Example.COM.', 443, 'example.com'],
  ['an address as a name', '192.0.2.1', 443, '192.0.2.1'],
  ['an IPv6 address', '2001:0db8:0000:0000:0000:0000:0000:0001', 443, '2001:db8::1'],
  ['an empty name', '', 443, null],
  ['a name with NUL', 'a\0.example', 443, null],
  ['a name that becomes an address', '127.1', 443, null],
  ['port 0', 'example.com', 0, null],
];

for (const [what, host, port, wanted] of destinations) {
  test(`destination: ${what}`, t => {
    const read = () => socksDestination({ type: 'request', command: 'connect', host, port });
    if (wanted === null) t.is(t.throws(read, { instanceOf: Failure })?.kind, 'bad-request');
    else t.is(read().host, wanted);
  });
}

test('BIND and UDP ASSOCIATE are refused by name', t => {
  for (const command of ['bind', 'udp'] as const)
    t.is(
      t.throws(() => socksDestination({ type: 'request', command, host: 'a.example', port: 1 }), {
        instanceOf: Failure,
      })?.kind,
      'unsupported-command',
    );
});
