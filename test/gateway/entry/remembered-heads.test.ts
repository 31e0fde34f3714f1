// A remembered head is the head as it was read, never another one, and no more of them than allowed.

import test from 'ava';
import fc from 'fast-check';
import { parseConnectHead } from '../../../gateway/entry/connect-head.ts';
import { RememberedHeads } from '../../../gateway/entry/remembered-heads.ts';
import { Failure } from '../../../gateway/session/failure.ts';
import { basic } from '../../support/http-client.ts';

const limits = { requestHeadBytes: 4096, requestHeadFields: 8, rememberedHeads: 3 };

const headTo = (authority: string, ...fields: string[]) =>
  [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, ...fields].join('\r\n');

test('the same head is read once, and one that differs in a letter by itself', t => {
  const heads = new RememberedHeads();
  const first = heads.read(headTo('a.example:443'), limits);
  t.is(heads.read(headTo('a.example:443'), limits), first);
  t.not(heads.read(headTo('A.example:443'), limits), first);
  t.is(heads.read(headTo('b.example:443'), limits).destination.host, 'b.example');
  t.is(heads.size, 3);
});

test('the bound: the one that was kept first makes room; 0 keeps none', t => {
  const heads = new RememberedHeads();
  const [first, second] = ['a', 'b', 'c'].map(name => heads.read(headTo(`${name}.example:1`), limits));
  heads.read(headTo('d.example:1'), limits);
  t.is(heads.size, 3);
  t.is(heads.read(headTo('b.example:1'), limits), second!, 'the second is still there');
  t.not(heads.read(headTo('a.example:1'), limits), first!, 'the first is not');

  const none = new RememberedHeads();
  const limitsOfNone = { ...limits, rememberedHeads: 0 };
  t.not(none.read(headTo('a.example:1'), limitsOfNone), none.read(headTo('a.example:1'), limitsOfNone));
  t.is(none.size, 0);
});

test('credentials, heads over 1,024 bytes and what is refused are not kept', t => {
  const heads = new RememberedHeads();
  const shown = heads.read(headTo('a.example:1', basic('user', 'secret')), limits);
  t.truthy(shown.credentials);
  const short = headTo('a.example:1', 'X: ');
  t.is(heads.read(short + 'x'.repeat(1025 - short.length), limits).destination.host, 'a.example');
  for (let i = 0; i < 2; i++)
    t.throws(() => heads.read(headTo('a.example:0'), limits), { instanceOf: Failure });
  t.is(heads.size, 0);
  heads.read(short + 'x'.repeat(1024 - short.length), limits);
  t.is(heads.size, 1);
});

test('other limits forget all: the head may be none by them', t => {
  const heads = new RememberedHeads();
  const head = headTo('a.example:1', 'X: 1');
  heads.read(head, limits);
  t.throws(() => heads.read(head, { ...limits, requestHeadFields: 1 }), { message: /1 header fields/ });
});

test('a kept request can be changed by no session', t => {
  const request = new RememberedHeads().read(headTo('a.example:1'), limits);
  t.true(Object.isFrozen(request));
  t.true(Object.isFrozen(request.destination));
});

const name = fc.constantFrom('a', 'A', 'b', 'b.', '1', '127.0.0.1', '[::1]', 'a b', '');
const port = fc.constantFrom('1', '443', '0', '');
const field = fc.constantFrom(
  'X: 1',
  'X : 1',
  'Host: a',
  'Content-Length: 1',
  'Proxy-Authorization: Bearer abc',
);
const anyHead = fc
  .tuple(name, port, fc.array(field, { maxLength: 2 }))
  .map(([host, number, fields]) => [`CONNECT ${host}:${number} HTTP/1.1`, ...fields].join('\r\n'));

const outcome = (read: () => unknown) => {
  try {
    return read();
  } catch (error) {
    return (error as Failure).message;
  }
};

test('whatever came before, what is read is what the parser says', t => {
  fc.assert(
    fc.property(fc.array(anyHead, { maxLength: 30 }), sequence => {
      const heads = new RememberedHeads();
      for (const head of sequence) {
        t.deepEqual(
          outcome(() => heads.read(head, limits)),
          outcome(() => parseConnectHead(head, limits)),
        );
        t.true(heads.size <= limits.rememberedHeads);
      }
    }),
    { numRuns: 1_000 },
  );
});
