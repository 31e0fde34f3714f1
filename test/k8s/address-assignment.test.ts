// Who takes which free address: spread, agreed upon by all who see the same, and somebody always.

import test from 'ava';
import fc from 'fast-check';
import { type AddressFacts, assignAddresses, type Candidate } from '../../k8s/address-assignment.ts';

const candidate = (replica: string, zone = '', node = `node-of-${replica}`, suspect = false): Candidate => ({
  identity: `${replica}_1`,
  replica,
  node,
  zone,
  pools: null,
  suspect,
});

const free = (address: string, pool = 'pool'): AddressFacts => ({ address, pool, holder: null });

/** What each candidate gets if the first of each address takes it, beside what it has. */
function outcome(
  addresses: readonly AddressFacts[],
  candidates: readonly Candidate[],
): Map<string, AddressFacts[]> {
  const assigned = assignAddresses(addresses, candidates);
  return Map.groupBy(
    addresses,
    ({ address, holder }) => holder ?? assigned.get(address)?.[0]?.identity ?? '',
  );
}

const counts = (of: Map<string, AddressFacts[]>) => [...of.values()].map(({ length }) => length).sort();

const identities = (of: readonly Candidate[]) => of.map(({ identity }) => identity).sort();

test('two addresses of a pool go to two zones before two nodes of one', t => {
  const candidates = [candidate('a', 'z1'), candidate('b', 'z1'), candidate('c', 'z2')];
  const got = outcome([free('192.0.2.1'), free('192.0.2.2')], candidates);
  t.true(got.has('c_1'));
  t.deepEqual(counts(got), [1, 1]);
});

test('two replicas on one node count as one place', t => {
  const candidates = [candidate('a', '', 'n1'), candidate('b', '', 'n1'), candidate('c', '', 'n2')];
  const got = outcome([free('192.0.2.1'), free('192.0.2.2')], candidates);
  t.true(got.has('c_1'));
});

test('each pool is spread, whatever the others have', t => {
  const candidates = [candidate('a'), candidate('b')];
  // One holds three of another pool already.
  const held = ['1', '2', '3'].map(at => ({ address: `198.51.100.${at}`, pool: 'other', holder: 'a_1' }));
  const got = outcome([...held, free('192.0.2.1'), free('192.0.2.2')], candidates);
  t.is(got.get('a_1')!.length, 4);
  t.is(got.get('b_1')!.length, 1);
});

test('a holder keeps what it has, and what is free goes to those who have less', t => {
  const candidates = [candidate('a'), candidate('b')];
  const held = ['1', '2', '3'].map(at => ({ address: `192.0.2.${at}`, pool: 'pool', holder: 'a_1' }));
  const assigned = assignAddresses([...held, free('192.0.2.9')], candidates);
  t.deepEqual([...assigned.keys()], ['192.0.2.9']);
  t.deepEqual(
    assigned.get('192.0.2.9')!.map(({ replica }) => replica),
    ['b', 'a'],
  );
});

test('one that let a Lease lapse comes last, and is better than nobody', t => {
  const suspect = candidate('a', '', 'n1', true);
  const first = (candidates: Candidate[]) =>
    assignAddresses([free('192.0.2.1')], candidates).get('192.0.2.1')![0];
  t.is(first([suspect, candidate('b')])?.replica, 'b');
  t.is(first([suspect])?.replica, 'a');
});

test('only those who serve its pool are asked to take an address', t => {
  const candidates = [
    { ...candidate('a'), pools: ['other'] },
    candidate('b'),
    { ...candidate('c'), pools: ['pool'] },
  ];
  const ranked = assignAddresses([free('192.0.2.1')], candidates).get('192.0.2.1')!;
  t.deepEqual(identities(ranked), ['b_1', 'c_1']);
});

test('ties fall to all alike', t => {
  const candidates = ['a', 'b', 'c', 'd'].map(name => candidate(name));
  const firsts = Array.from({ length: 400 }, (_, at) => {
    const address = `10.0.${at >> 8}.${at & 255}`;
    return assignAddresses([free(address)], candidates).get(address)![0]!.replica;
  });
  const times = [...Map.groupBy(firsts, name => name).values()].map(({ length }) => length);
  t.is(times.length, 4);
  for (const each of times) t.true(each > 60 && each < 140, String(times));
});

const addressTexts = fc.oneof(
  fc.integer({ min: 1, max: 60 }).map(at => `192.0.2.${at}`),
  fc.integer({ min: 1, max: 60 }).map(at => `2001:db8::${at.toString(16)}`),
);

/** Candidates with names of their own, on nodes of which each is in one zone. */
const candidatesArbitrary = fc
  .array(fc.record({ node: fc.integer({ min: 0, max: 7 }), suspect: fc.boolean() }), { maxLength: 10 })
  .map(list => list.map(({ node, suspect }, at) => candidate(`r${at}`, `z${node % 3}`, `n${node}`, suspect)));

const worldArbitrary = fc
  .record({
    candidates: candidatesArbitrary,
    addresses: fc.uniqueArray(
      fc.record({
        address: addressTexts,
        pool: fc.constantFrom('p', 'q'),
        holderAt: fc.option(fc.integer({ min: 0, max: 11 })),
      }),
      { maxLength: 40, selector: ({ address }) => address },
    ),
  })
  .map(({ candidates, addresses }) => ({
    candidates,
    addresses: addresses.map(({ address, pool, holderAt }) => ({
      address,
      pool,
      // Some holders are no candidates: not ready any more, or not heard of yet.
      holder: holderAt === null ? null : (candidates[holderAt]?.identity ?? `gone-${holderAt}`),
    })),
  }));

test('every free address has all candidates in some order, and held ones have none', t => {
  fc.assert(
    fc.property(worldArbitrary, ({ addresses, candidates }) => {
      const assigned = assignAddresses(addresses, candidates);
      const frees = addresses.filter(({ holder }) => holder === null).map(({ address }) => address);
      t.deepEqual([...assigned.keys()].sort(), frees.sort());
      for (const ranked of assigned.values()) t.deepEqual(identities(ranked), identities(candidates));
    }),
  );
});

test('the order in which things were seen does not count', t => {
  const shuffled = worldArbitrary.chain(({ addresses, candidates }) =>
    fc.record({
      one: fc.constant({ addresses, candidates }),
      addresses: fc.shuffledSubarray(addresses, { minLength: addresses.length }),
      candidates: fc.shuffledSubarray(candidates, { minLength: candidates.length }),
    }),
  );
  fc.assert(
    fc.property(shuffled, ({ one, addresses, candidates }) => {
      const sorted = (of: Map<string, readonly Candidate[]>) => [...of].sort();
      t.deepEqual(
        sorted(assignAddresses(addresses, candidates)),
        sorted(assignAddresses(one.addresses, one.candidates)),
      );
    }),
  );
});

const spread = (numbers: readonly number[]) => Math.max(...numbers, 0) - Math.min(...numbers, Infinity);

test('from nothing held: zones differ by one at most, and so do the nodes of a zone and the replicas of a node', t => {
  const fresh = worldArbitrary.map(({ addresses, candidates }) => ({
    addresses: addresses.map(each => ({ ...each, holder: null })),
    candidates: candidates.map(each => ({ ...each, suspect: false })),
  }));
  fc.assert(
    fc.property(fresh, ({ addresses, candidates }) => {
      if (candidates.length === 0) return;
      const got = outcome(addresses, candidates);
      for (const pool of [null, 'p', 'q']) {
        const loadOf = (some: readonly Candidate[]) =>
          some
            .flatMap(({ identity }) => got.get(identity) ?? [])
            .filter(each => pool === null || each.pool === pool).length;
        const zones = [...Map.groupBy(candidates, ({ zone }) => zone).values()];
        t.true(spread(zones.map(loadOf)) <= 1);
        for (const zone of zones) {
          const nodes = [...Map.groupBy(zone, ({ node }) => node).values()];
          t.true(spread(nodes.map(loadOf)) <= 1);
          for (const node of nodes) t.true(spread(node.map(each => loadOf([each]))) <= 1);
        }
      }
    }),
  );
});
