// What hosts say to their neighbours about addresses, as bytes: ours are read back, those from afar and broken ones
// claim nothing.

import test from 'ava';
import fc from 'fast-check';
import { parseAddress } from '../../../config/policy/address.ts';
import { announcements, neighbourClaim, probe } from '../../../gateway/os/neighbour-frames.ts';

const mac = Uint8Array.of(0x02, 0, 0, 0xaa, 0xbb, 0xcc);

for (const text of ['192.0.2.7', '2001:db8::7:89ab']) {
  const address = parseAddress(text)!;

  test(`${text}: announcements say who has it, a probe that somebody looks`, t => {
    const frames = announcements(mac, address);
    for (const frame of frames) t.like(neighbourClaim(frame), { address, mac: '020000aabbcc', kind: 'has' });
    t.like(neighbourClaim(probe(mac, address)), { address, mac: '020000aabbcc', kind: 'looks' });
  });

  test(`${text}: a frame cut short claims nothing`, t => {
    for (const frame of [...announcements(mac, address), probe(mac, address)]) {
      const most = text.includes(':') ? 78 : 42;
      for (let length = 0; length < most; length++) t.is(neighbourClaim(frame.subarray(0, length)), null);
    }
  });
}

test('the probe of an IPv6 address goes to its solicited-node group', t => {
  const frame = probe(mac, parseAddress('2001:db8::7:89ab')!);
  t.is(frame.subarray(0, 6).toString('hex'), '3333ff0789ab');
  t.is(frame.subarray(38, 54).toString('hex'), 'ff0200000000000000000001ff0789ab');
  // Over the pseudo-header and the message the ones' complement sum is all ones.
  const sum = checksumOf(frame);
  t.is(sum, 0xffff);
});

function checksumOf(frame: Buffer): number {
  const message = frame.subarray(54);
  const bytes = Buffer.concat([
    frame.subarray(22, 54),
    Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58]),
    message,
  ]);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

test('an advertisement that has passed a router claims nothing', t => {
  const [frame] = announcements(mac, parseAddress('2001:db8::7')!);
  frame![21] = 254;
  t.is(neighbourClaim(frame!), null);
});

test('a solicitation from an address claims that address', t => {
  const frame = probe(mac, parseAddress('2001:db8::7')!);
  frame.set(Buffer.from('20010db8000000000000000000000099', 'hex'), 22);
  t.like(neighbourClaim(frame), { address: parseAddress('2001:db8::99')!, kind: 'has' });
});

test('other ARP than that of Ethernet and IPv4 claims nothing', t => {
  const [frame] = announcements(mac, parseAddress('192.0.2.7')!);
  frame![16] = 0x86;
  t.is(neighbourClaim(frame!), null);
});

test('whatever bytes come, nothing is thrown', t => {
  const likely = fc.constantFrom('0806', '86dd').chain(type =>
    fc.uint8Array({ minLength: 12, maxLength: 100 }).map(rest => {
      const bytes = Buffer.from(rest);
      bytes.write(type, Math.min(12, bytes.length - 2), 'hex');
      return bytes;
    }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), likely), bytes => {
      neighbourClaim(bytes);
    }),
  );
  t.pass();
});
