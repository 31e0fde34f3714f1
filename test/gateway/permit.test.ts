// Promise 1: no dial without a permit. By type, and at run time for callers without types.

import test from 'ava';
// Loading admission takes the office; nobody can take it again.
import '../../gateway/admission/admit.ts';
import { isPermit, type Permit, takePermitOffice } from '../../gateway/admission/permit.ts';
import { streamConnector } from '../../gateway/exit/connect-stream.ts';
import { dial } from '../../gateway/exit/dial.ts';
import { Leaving } from '../../gateway/session/leaving.ts';

const limits = { connectTimeout: 1_000, connectAttemptDelay: 100, relayBufferBytes: 65_536 };
const shape = { routes: [], port: 443 };

test('an object of the same shape is no permit to the type checker', t => {
  // @ts-expect-error the class behind Permit has a private field: this line must not compile without the comment
  const forged: Permit = shape;
  t.false(isPermit(forged));
});

test('dial refuses at run time what admit() did not make', async t => {
  const forged = Object.create(Object.prototype, Object.getOwnPropertyDescriptors(shape)) as Permit;
  await t.throwsAsync(dial(forged, streamConnector, limits, new Leaving()), {
    instanceOf: TypeError,
    message: /permit/,
  });
  for (const value of [null, undefined, 'permit', shape]) t.false(isPermit(value));
});

test('nobody makes permits beside admission', t => {
  t.throws(takePermitOffice, { message: /admit\.ts alone/ });
});
