// ranges.ts and no-proxy.ts: the cluster's own blocks by name, the fewest that say it, the same for the same facts.

import test from 'ava';
import fc from 'fast-check';
import {
  type Cidr,
  cidrContains,
  cidrInside,
  cidrOf,
  type IpAddress,
  ipv4,
  ipv6,
  parseCidr,
} from '../../config/policy/address.ts';
import { noProxyOf } from '../../k8s/no-proxy.ts';
import type { NodeFacts } from '../../k8s/pods.ts';
import {
  endpointAddressesOf,
  mergeCidrs,
  type RangeFacts,
  rangesOf,
  sameRanges,
  serviceCidrsOf,
} from '../../k8s/ranges.ts';

const cidr = (text: string) => parseCidr(text)!;
const cidrs = (...texts: string[]) => texts.map(cidr);

const nothing: RangeFacts = {
  podCidrs: [],
  nodes: [],
  publicPodAddresses: [],
  serviceCidrs: [],
  apiServer: [],
};

function shown(facts: Partial<RangeFacts>): string[] {
  return rangesOf({ ...nothing, ...facts }).ranges.map(range => `${range.name}: ${range.cidr.text}`);
}

const node = (name: string, ...addresses: string[]): NodeFacts => ({ name, podCidrs: [], addresses });

test('every sort of range has its name, in a fixed order', t => {
  const facts = {
    podCidrs: cidrs('10.9.0.0/16'),
    nodes: [
      { ...node('node-2', '192.0.2.2'), podCidrs: ['10.244.2.0/24'] },
      { ...node('node-1', '192.0.2.1', '2001:db8::1'), podCidrs: ['10.244.1.0/24', 'fd00:1::/64'] },
    ],
    publicPodAddresses: ['2600:1f00::9', '2600:1f00::5'],
    serviceCidrs: ['10.96.0.0/12', 'fd00:96::/108'],
    apiServer: ['198.51.100.1', 'kubernetes.example.com'],
  };
  const wanted = [
    'pod network: 10.9.0.0/16',
    'pod network: 10.244.1.0/24',
    'pod network: 10.244.2.0/24',
    'pod network: fd00:1::/64',
    'service network: 10.96.0.0/12',
    'service network: fd00:96::/108',
    'Kubernetes API server: 198.51.100.1/32',
    'node node-1: 192.0.2.1/32',
    'node node-1: 2001:db8::1/128',
    'node node-2: 192.0.2.2/32',
    'pod network: 2600:1f00::5/128',
    'pod network: 2600:1f00::9/128',
  ];
  t.deepEqual(shown(facts), wanted);
  const reversed = {
    ...facts,
    nodes: [...facts.nodes].reverse(),
    publicPodAddresses: [...facts.publicPodAddresses].reverse(),
    serviceCidrs: [...facts.serviceCidrs].reverse(),
  };
  t.deepEqual(shown(reversed), wanted);
  t.true(sameRanges(rangesOf({ ...nothing, ...facts }).ranges, rangesOf({ ...nothing, ...reversed }).ranges));
  t.false(sameRanges(rangesOf({ ...nothing, ...facts }).ranges, rangesOf(nothing).ranges));
});

test('pod blocks of many nodes become one', t => {
  const nodes = Array.from({ length: 256 }, (_, at) => ({
    ...node(`node-${at}`),
    podCidrs: [`10.244.${at}.0/24`],
  }));
  t.deepEqual(shown({ nodes }), ['pod network: 10.244.0.0/16']);
  t.deepEqual(shown({ nodes, podCidrs: cidrs('10.0.0.0/8') }), ['pod network: 10.0.0.0/8']);
});

test('an address of several names is listed once; a public pod address inside a known block not at all', t => {
  const facts = { nodes: [node('node-1', '192.0.2.1')], apiServer: ['192.0.2.1', '192.0.2.1'] };
  t.deepEqual(shown(facts), ['Kubernetes API server: 192.0.2.1/32']);
  t.deepEqual(shown({ podCidrs: cidrs('2600:1f00::/64'), publicPodAddresses: ['2600:1f00::5'] }), [
    'pod network: 2600:1f00::/64',
  ]);
});

test('what is no block or address closes nothing', t => {
  const bad = [{ name: 'n', podCidrs: ['10.0.0.1/8', ''], addresses: ['node.example.com', ''] }];
  t.deepEqual(shown({ nodes: bad, serviceCidrs: ['services'], apiServer: ['localhost'] }), []);
});

test('past the limits blocks are left out, and counted', t => {
  const publicPodAddresses = Array.from({ length: 50_003 }, (_, at) => ipv6(0x26001f00, 0, 0, at).text);
  const { ranges, leftOut } = rangesOf({ ...nothing, publicPodAddresses });
  t.is(ranges.length, 50_000);
  t.is(leftOut, 3);
  t.is(rangesOf(nothing).leftOut, 0);
});

test('blocks of a ServiceCIDR and addresses of an EndpointSlice', t => {
  t.deepEqual(serviceCidrsOf({ spec: { cidrs: ['10.96.0.0/12', 'FD00::/108', 'x', 5] } }), [
    '10.96.0.0/12',
    'fd00::/108',
  ]);
  t.deepEqual(
    endpointAddressesOf({
      endpoints: [{ addresses: ['192.0.2.1', 'x'] }, null, { addresses: ['2001:DB8::1'] }],
    }),
    ['192.0.2.1', '2001:db8::1'],
  );
  for (const raw of [null, {}, { spec: [] }, { endpoints: {} }]) {
    t.deepEqual(serviceCidrsOf(raw), []);
    t.deepEqual(endpointAddressesOf(raw), []);
  }
});

// Blocks and addresses from a small corner of both families, so that they touch and nest.
const corner = fc.oneof(
  fc.nat(255).map(last => ipv4(0x0af40000 + last)),
  fc.nat(255).map(last => ipv6(0xfd000000, 0, 0, last)),
  fc.nat(0xff).map(first => ipv4(first * 0x1000000)),
);
const block = fc
  .tuple(corner, fc.nat(10))
  .map(([address, back]) => cidrOf(address, (address.family === 4 ? 32 : 128) - back));

const textOf = (blocks: readonly Cidr[]) => blocks.map(({ text }) => text).join();
const isIn = (address: IpAddress, blocks: readonly Cidr[]) =>
  blocks.some(each => cidrContains(each, address));

test('merged blocks hold the same addresses, do not overlap, and cannot be fewer', t => {
  fc.assert(
    fc.property(fc.array(block, { maxLength: 40 }), fc.array(corner, { maxLength: 40 }), (blocks, probes) => {
      const merged = mergeCidrs(blocks);
      for (const address of [...probes, ...blocks.map(({ base }) => base)])
        if (isIn(address, blocks) !== isIn(address, merged)) return false;
      if (blocks.some(each => !merged.some(whole => cidrInside(each, whole)))) return false;
      const texts = new Set(merged.map(({ text }) => text));
      const isFewest = merged.every(one => {
        if (one.prefix === 0) return true;
        const whole = cidrOf(one.base, one.prefix - 1);
        const halves = merged.filter(each => each.prefix === one.prefix && cidrInside(each, whole));
        return halves.length === 1 && merged.every(each => each === one || !cidrInside(each, one));
      });
      return isFewest && texts.size === merged.length;
    }),
    { numRuns: 2_000, endOnFailure: true },
  );
  fc.assert(
    fc.property(fc.array(block, { maxLength: 40 }), fc.nat(), (blocks, seed) => {
      const shuffled = [...blocks].sort(
        (a, b) => ((a.base.word0 ^ seed) >>> 0) - ((b.base.word0 ^ seed) >>> 0),
      );
      return textOf(mergeCidrs(shuffled)) === textOf(mergeCidrs(blocks));
    }),
  );
  t.deepEqual(
    mergeCidrs(cidrs('0.0.0.0/1', '128.0.0.0/1', '::/0')).map(({ text }) => text),
    ['0.0.0.0/0', '::/0'],
  );
});

const podRanges = (...texts: string[]) => cidrs(...texts).map(each => ({ name: 'pod network', cidr: each }));
const noProxy = (ranges: { name: string; cidr: Cidr }[], apiServer: string | null = null) =>
  noProxyOf({ clusterDomain: 'cluster.local', ranges, apiServer });
const hostNames = 'localhost,127.0.0.1,::1,.svc,.cluster.local';

test('NO_PROXY: this host, Services, pod and service networks, the API server', t => {
  const ranges = [
    ...podRanges('10.244.0.0/24', '10.244.1.0/24'),
    { name: 'service network', cidr: cidr('10.96.0.0/12') },
    { name: 'node node-1', cidr: cidr('192.0.2.1/32') },
  ];
  t.is(noProxy(ranges), `${hostNames},10.96.0.0/12,10.244.0.0/23`);
  t.is(noProxy(ranges, '10.96.0.1'), `${hostNames},10.96.0.0/12,10.244.0.0/23`);
  t.is(noProxy(ranges, '198.51.100.1'), `${hostNames},10.96.0.0/12,10.244.0.0/23,198.51.100.1`);
  t.is(noProxy([], '[2001:DB8::1]'), `${hostNames},2001:db8::1`);
  t.is(noProxy([], 'API.example.com'), `${hostNames},api.example.com`);
});

test('NO_PROXY: what would change the meaning of the list is left out', t => {
  for (const bad of ['a,b', '*', 'a b', '', 'a\nb', '.x']) t.is(noProxy([], bad), hostNames, bad);
  const names = (clusterDomain: string) => noProxyOf({ clusterDomain, ranges: [], apiServer: null });
  t.is(names('Cluster.Local.'), hostNames);
  t.is(names('*'), 'localhost,127.0.0.1,::1,.svc');
});

const blocksIn = (value: string) =>
  value
    .split(',')
    .map(parseCidr)
    .filter(each => each !== null);

test('NO_PROXY: 100 blocks are kept as they are, and of more the closest private ones are joined', t => {
  const odd = (count: number) => Array.from({ length: count }, (_, at) => `10.${at}.1.0/24`);
  t.deepEqual(
    blocksIn(noProxy(podRanges(...odd(100)))).map(({ text }) => text),
    odd(100),
  );
  // One too many: the two that are closest are joined, and nothing else changes.
  const joined = blocksIn(noProxy(podRanges(...odd(98), '10.200.1.0/24', '10.200.3.0/24', '203.0.113.0/24')));
  t.deepEqual(
    joined.map(({ text }) => text),
    [...odd(98), '10.200.0.0/22', '203.0.113.0/24'],
  );
});

test('NO_PROXY: never a public address that was not told, never more than 100 blocks', t => {
  const privateRanges = cidrs('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7');
  const anywhere = fc.oneof(
    fc.nat(0xffff).map(at => ipv4(0x0a000000 + at * 0x100)),
    fc.nat(0xffff).map(at => ipv4(0xac100000 + at * 0x10)),
    fc.nat(0xff).map(at => ipv4(0xcb000000 + at * 0x100)),
    fc.nat(0xffff).map(at => ipv6(0xfd000000 + at, at, 0, 0)),
    fc.nat(0xff).map(at => ipv6(0x26001f00, at, 0, 0)),
  );
  const any = fc
    .tuple(anywhere, fc.nat(12))
    .map(([address, back]) => cidrOf(address, (address.family === 4 ? 32 : 128) - back));
  fc.assert(
    fc.property(fc.array(any, { minLength: 80, maxLength: 400, size: 'max' }), blocks => {
      const found = blocksIn(noProxy(blocks.map(each => ({ name: 'pod network', cidr: each }))));
      const inside = (one: Cidr, wides: readonly Cidr[]) => wides.some(wide => cidrInside(one, wide));
      const privates = blocks.filter(each => inside(each, privateRanges));
      return (
        found.length <= 100 &&
        found.every(each => inside(each, [...privateRanges, ...mergeCidrs(blocks)])) &&
        privates.every(each => inside(each, found))
      );
    }),
    { numRuns: 100, endOnFailure: true },
  );
  t.pass();
});
