// Addresses leased by several replicas, in a world of one clock: who holds what and when, through every sort of end, and
// never two at once.

import test from 'ava';
import { parseAddress } from '../../config/policy/address.ts';
import { addressLeaseName } from '../../k8s/address-objects.ts';
import { AddressWorld, leasesPath, poolOf } from './address-world.ts';

const one = '192.0.2.1';
const two = '192.0.2.2';
const six = '2001:db8::1';

const leaseOf = (world: AddressWorld, text: string) =>
  world.server.objects.get(`${leasesPath}/${addressLeaseName(parseAddress(text)!)}`);

/** Fails where two hosts answer for one of the addresses. */
function neverTwo(world: AddressWorld, ...addresses: string[]): () => void {
  return () => {
    for (const address of addresses) {
      const holders = world.holders(address);
      if (holders.length > 1) throw new Error(`${holders.join(' and ')} answer for ${address}`);
    }
  };
}

test('names of Leases are names, whatever the address', t => {
  const name = (text: string) => addressLeaseName(parseAddress(text)!);
  t.is(name('192.0.2.1'), 'sallyport-address-192-0-2-1');
  t.is(name('2001:db8::1'), 'sallyport-address-2001-db8--1');
  t.is(name('2001:db8::'), 'sallyport-address-2001-db8--0');
  t.is(name('::1'), 'sallyport-address---1');
});

test('one replica takes every address, tells it, and keeps it', async t => {
  const world = new AddressWorld(one, six);
  const a = world.start('a');
  await world.until(() => a.held().length === 2);
  await world.pass(60_000, () => t.is(a.held().length, 2));
  t.deepEqual(world.holders(one), ['node-of-a']);
  t.deepEqual(world.holders(six), ['node-of-a']);
  t.like(leaseOf(world, one), {
    metadata: {
      labels: { 'sallyport.dev/role': 'address' },
      annotations: { 'sallyport.dev/pool': 'pool', 'sallyport.dev/node': 'node-of-a' },
    },
    spec: { leaseDurationSeconds: 4 },
  });
  t.regex(leaseOf(world, one).spec.holderIdentity, /^a_[0-9a-f]{8}$/);
  t.is(a.leases.states()[0]!.state, 'held here');
  t.is(a.leases.states()[0]!.holder, 'a');
  t.deepEqual(
    a.events.map(({ reason }) => reason),
    ['AddressHeld', 'AddressHeld'],
  );
  t.deepEqual(a.host.lost, []);
});

test('replicas that begin together share, over zones first', async t => {
  const world = new AddressWorld(one, two, '192.0.2.3');
  for (const [name, zone] of [
    ['a', 'z1'],
    ['b', 'z1'],
    ['c', 'z2'],
  ])
    world.server.put(`/api/v1/nodes/node-of-${name}`, {
      metadata: { name: `node-of-${name}`, labels: { 'topology.kubernetes.io/zone': zone } },
    });
  const replicas = ['a', 'b', 'c'].map(name => world.start(name));
  await world.until(() => replicas.every(each => each.held().length === 1));
  await world.pass(20_000, () => t.true(replicas.every(each => each.held().length === 1)));
  const states = replicas[0]!.leases.states();
  t.deepEqual(states.map(({ holder }) => holder).sort(), ['a', 'b', 'c']);
  t.is(states.filter(({ state }) => state === 'held elsewhere').length, 2);
});

test('a holder is killed: another holds it once its Lease has lapsed, and not before the kernel let go', async t => {
  const world = new AddressWorld(one, six);
  const a = world.start('a');
  await world.until(() => a.held().length === 2);
  const b = world.start('b');
  await world.pass(5_000);
  t.deepEqual(b.held(), [], 'a healthy holder keeps what it has');
  a.kill();
  const tookMs = await world.until(() => b.held().length === 2, neverTwo(world, one, six));
  t.true(tookMs <= 5_000, `${tookMs} ms`);
  t.true(tookMs >= 3_000, `${tookMs} ms`);
});

for (const how of ['refused', 'silent'] as const) {
  test(`a holder is cut off (${how}): it holds nothing before another may, and nothing comes back by itself`, async t => {
    const world = new AddressWorld(one);
    const a = world.start('a');
    await world.until(() => a.held().length === 1);
    const b = world.start('b');
    await world.pass(5_000);
    a.cut(how);
    await world.until(() => a.held().length === 0, neverTwo(world, one));
    t.deepEqual(a.host.lost, [one], 'sessions are told');
    t.deepEqual(b.held(), []);
    await world.until(() => b.held().length === 1, neverTwo(world, one));
    t.deepEqual(world.holders(one), ['node-of-b']);
    a.cut(null);
    await world.pass(30_000, neverTwo(world, one));
    t.deepEqual(b.held(), [one]);
    t.deepEqual(a.held(), []);
    t.true(a.told.some(line => line.startsWith('warn: the address was not renewed in time')));
  });
}

test('all are cut off: nobody holds anything, and afterwards the holder has it again at once', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  for (const each of [a, b]) each.cut('refused');
  await world.pass(20_000, neverTwo(world, one));
  t.deepEqual(world.holders(one), []);
  for (const each of [a, b]) each.cut(null);
  await world.until(() => a.held().length + b.held().length === 1, neverTwo(world, one), 3_000);
  t.pass();
});

test('after a long outage in which the holder died, another takes over', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  for (const each of [a, b]) each.cut('silent');
  a.kill();
  await world.pass(30_000);
  b.cut(null);
  await world.until(() => b.held().length === 1, neverTwo(world, one));
  t.pass();
});

test('an outage that is over before the Lease lapses: the holder has it again at once', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  a.cut('refused');
  const cutMs = await world.until(() => a.held().length === 0);
  t.true(cutMs < 2_500);
  a.cut(null);
  await world.until(() => a.held().length === 1, neverTwo(world, one), 1_500);
  t.deepEqual(b.held(), []);
});

test('a right counts from before the renewal was sent, however late its answer is', async t => {
  const world = new AddressWorld(one);
  const config = { interface: 'eth0', leaseDuration: 30_000, renewInterval: 1_000 };
  const a = world.start('a', { config });
  await world.until(() => a.held().length === 1);
  const b = world.start('b', { config });
  await world.pass(31_000);
  world.server.lostAnswer = ({ from, verb }) =>
    from === 'a' && verb === 'replace' ? world.clock.sleep(10_000) : undefined;
  await world.pass(11_500);
  a.kill();
  await world.until(() => b.held().length === 1, neverTwo(world, one));
  t.pass();
});

test('replicas that begin one after the other, where all Leases are free, still share', async t => {
  const world = new AddressWorld(one, two);
  const before = world.start('before');
  await world.until(() => before.held().length === 2);
  await before.leases.stop();
  const a = world.start('a');
  await world.pass(600);
  const b = world.start('b');
  await world.until(() => a.held().length + b.held().length === 2);
  t.deepEqual([a.held().length, b.held().length], [1, 1]);
});

test('one renewal that fails costs nothing', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  await world.pass(3_000);
  for (let times = 0; times < 5; times++) {
    const writes = world.server.calls.filter(({ verb }) => verb === 'replace').length;
    const trouble = world.server.trouble;
    world.server.trouble = call => {
      if (call.verb === 'replace') throw new Error('connection reset');
      return trouble(call);
    };
    await world.until(() => world.server.calls.filter(({ verb }) => verb === 'replace').length > writes);
    world.server.trouble = trouble;
    await world.pass(4_000, () => t.is(a.held().length, 1));
  }
});

test('drain: the address first, then the Lease, and another has it in a moment', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  world.server.trouble = ({ from, verb, body }) => {
    if (from === 'a' && verb === 'replace' && body.spec.holderIdentity === '') t.false(a.host.has(one));
  };
  const drained = a.leases.drain();
  t.deepEqual(a.held(), [], 'at once');
  t.deepEqual(world.holders(one), []);
  const tookMs = await world.until(() => b.held().length === 1, neverTwo(world, one));
  await drained;
  t.true(tookMs <= 1_000, `${tookMs} ms`);
  await world.pass(10_000);
  t.deepEqual(a.held(), [], 'one that drains takes nothing');
  await a.leases.stop();
  t.false([...world.server.objects.keys()].some(path => path.endsWith('sallyport-candidate-a')));
});

test('leaving: what nothing leaves from is given back at once, the rest when it is idle', async t => {
  const world = new AddressWorld(one, two);
  const used = new Set([one]);
  const a = world.start('a', { isUsed: ({ text }) => used.has(text) });
  await world.until(() => a.held().length === 2);
  const b = world.start('b');
  await world.pass(5_000);
  a.leases.leave();
  await world.until(() => b.held().length === 1, neverTwo(world, one, two));
  t.deepEqual([a.held(), b.held()], [[one], [two]]);
  await world.pass(10_000, () => t.deepEqual(a.held(), [one]));
  used.clear();
  await world.until(() => b.held().length === 2, neverTwo(world, one, two));
  t.deepEqual(a.held(), []);
});

test('the link goes: given back at once, and not taken again before it is back', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  a.host.link = false;
  const tookMs = await world.until(() => b.held().length === 1, neverTwo(world, one));
  t.true(tookMs <= 1_500, `${tookMs} ms`);
  b.kill();
  await world.pass(20_000, neverTwo(world, one));
  t.deepEqual(world.holders(one), [], 'nobody has a link');
  t.is(a.leases.states()[0]!.state, 'no-link');
  a.host.link = true;
  await world.until(() => a.held().length === 1, neverTwo(world, one));
  t.pass();
});

test('a process that was stopped wakes to an address of another, and leaves it', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  a.freeze();
  await world.until(() => b.held().length === 1, neverTwo(world, one));
  t.deepEqual(a.held(), [], 'it knows by the clock alone');
  await world.pass(5_000);
  a.thaw();
  await world.pass(20_000, neverTwo(world, one));
  t.deepEqual(b.held(), [one]);
  t.deepEqual(a.held(), []);
  t.deepEqual(a.host.lost, [one]);
});

test('a process that was stopped for a moment goes on', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  world.start('b');
  await world.pass(5_000);
  a.freeze();
  await world.pass(900);
  a.thaw();
  await world.pass(10_000, () => t.deepEqual(a.held(), [one]));
});

test('a stopped process whose renewal was answered long ago does not count from the answer', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  // Stopped right after a renewal was sent: its good answer waits.
  const sent = Promise.withResolvers<void>();
  world.server.lostAnswer = ({ from, verb }) => {
    if (from !== 'a' || verb !== 'replace') return;
    a.freeze();
    sent.resolve();
  };
  await world.until(() => b.held().length === 1, neverTwo(world, one));
  world.server.lostAnswer = () => {};
  a.thaw();
  await world.pass(10_000, neverTwo(world, one));
  t.deepEqual(b.held(), [one]);
});

test('an address of another host is not used; it is tried again, less and less', async t => {
  const world = new AddressWorld(one);
  world.strangers.add(one);
  const a = world.start('a');
  const b = world.start('b');
  await world.pass(60_000);
  t.deepEqual([...a.held(), ...b.held()], []);
  const told = [...a.told, ...b.told].filter(line => line.includes('another host has 192.0.2.1'));
  t.true(told.length >= 3 && told.length <= 8, String(told.length));
  t.true([...a.events, ...b.events].every(({ reason }) => reason === 'AddressDuplicate'));
  t.is(a.leases.states()[0]!.state, 'duplicate');
  world.strangers.clear();
  await world.until(() => a.held().length + b.held().length === 1, neverTwo(world, one), 90_000);
  await world.pass(3_000);
  t.is(leaseOf(world, one).metadata.annotations['sallyport.dev/duplicates'], undefined);
});

test('an address that another host claims while it is held is let go', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  world.strangers.add(one);
  a.host.contested.add(one);
  await world.pass(300);
  t.deepEqual(world.holders(one), []);
  t.is(leaseOf(world, one).spec.holderIdentity, '');
  await world.pass(5_000);
  t.deepEqual(a.held(), []);
  world.strangers.clear();
  await world.until(() => a.held().length === 1);
  t.pass();
});

test('one that is not ready takes nothing, and keeps what it has', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  a.ready = false;
  await world.pass(20_000);
  t.deepEqual(a.held(), []);
  a.ready = true;
  await world.until(() => a.held().length === 1);
  a.ready = false;
  await world.pass(20_000, () => t.deepEqual(a.held(), [one]));
});

test('a host that refuses leaves the address to others', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  a.host.refusal = new Error('rtnetlink EPERM');
  await world.pass(7_000);
  t.true(
    a.told.some(
      line => line.startsWith('error: the host refused the address') && line.includes('CAP_NET_ADMIN'),
    ),
  );
  const b = world.start('b');
  await world.until(() => b.held().length === 1);
  const errors = a.told.filter(line => line.startsWith('error')).length;
  t.true(errors <= 2, 'not again and again');
});

test('an edit of the pools: what is in none is given back, what is new is taken', async t => {
  const world = new AddressWorld(one, two);
  const a = world.start('a');
  await world.until(() => a.held().length === 2);
  world.pools = [poolOf('pool', two, six)];
  a.leases.poolsChanged();
  await world.until(() => a.held().includes(six));
  t.deepEqual(a.held(), [two, six]);
  t.deepEqual(world.holders(one), []);
  t.is(leaseOf(world, one).spec.holderIdentity, '');
});

test('only the pools that are named are served', async t => {
  const world = new AddressWorld();
  world.pools = [poolOf('mine', one), poolOf('theirs', two)];
  const config = { interface: 'eth0', leaseDuration: 4_000, renewInterval: 1_000, pools: ['mine'] };
  const a = world.start('a', { config });
  await world.pass(10_000);
  t.deepEqual(a.held(), [one]);
});

test('one that serves other pools is waited for by nobody', async t => {
  const world = new AddressWorld();
  world.pools = [poolOf('mine', one), poolOf('theirs', two)];
  const config = { interface: 'eth0', leaseDuration: 4_000, renewInterval: 1_000 };
  const a = world.start('a', { config: { ...config, pools: ['mine'] } });
  const b = world.start('b', { config: { ...config, pools: ['theirs'] } });
  await world.until(() => a.held().length + b.held().length === 2);
  t.deepEqual([a.held(), b.held()], [[one], [two]]);
});

test('too many addresses: the first thousand are looked after, and it is told', async t => {
  const world = new AddressWorld();
  const addresses = Array.from({ length: 1_001 }, (_, at) => `10.0.${at >> 8}.${at & 255}`);
  world.pools = [poolOf('pool', ...addresses)];
  const a = world.start('a');
  await world.until(() => a.held().length === 1_000);
  t.true(a.told.some(line => line.startsWith('error: too many addresses')));
  await a.leases.stop();
});

test('what an earlier process of this host left is removed, unless a process of this node may still have it', async t => {
  const world = new AddressWorld(one, two);
  const a = world.start('a');
  await world.until(() => a.held().length === 2);
  a.kill();
  await world.pass(500);
  // Of one, the Lease went to another meanwhile, so to speak; of the other it is still the old process's.
  const lease = leaseOf(world, one);
  lease.metadata.annotations['sallyport.dev/node'] = 'elsewhere';
  lease.spec.holderIdentity = 'x_1';
  world.server.put(`${leasesPath}/${lease.metadata.name}`, lease);
  world.start('a');
  await world.pass(200);
  t.deepEqual(world.holders(one), []);
  t.deepEqual(world.holders(two), ['node-of-a']);
});

test('a Lease that somebody deletes: the holder makes it anew, and nobody takes it meanwhile', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  const b = world.start('b');
  await world.pass(5_000);
  const path = `${leasesPath}/${addressLeaseName(parseAddress(one)!)}`;
  for (let times = 0; times < 3; times++) {
    await world.server.as('admin').delete(path);
    await world.pass(2_000, neverTwo(world, one));
    t.deepEqual([a.held(), b.held()], [[one], []]);
    t.true(world.server.objects.has(path));
  }
  // Deleted while the holder is gone: waited for all the same.
  a.kill();
  await world.server.as('admin').delete(path);
  await world.until(() => b.held().length === 1, neverTwo(world, one));
});

test('a replica that starts where a Lease has just been deleted waits for its holder', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  a.cut('silent');
  await world.server.as('admin').delete(`${leasesPath}/${addressLeaseName(parseAddress(one)!)}`);
  const b = world.start('b');
  await world.until(() => b.held().length === 1, neverTwo(world, one));
  t.pass();
});

test('a Lease that somebody empties or takes away is let go at once', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  await world.until(() => a.held().length === 1);
  await world.pass(5_000);
  const lease = structuredClone(leaseOf(world, one));
  lease.spec.holderIdentity = 'x_1';
  world.server.put(`${leasesPath}/${lease.metadata.name}`, lease);
  await world.pass(50);
  t.deepEqual(a.held(), []);
  t.deepEqual(world.holders(one), []);
});

test('an answer that is lost costs no address', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  let lose = 1;
  world.server.lostAnswer = ({ verb }) => {
    if (verb !== 'create' && verb !== 'replace') return;
    if (lose-- > 0) throw new Error('connection reset');
  };
  await world.until(() => a.held().length === 1);
  await world.pass(3_000);
  for (let times = 0; times < 3; times++) {
    lose = 1;
    await world.pass(4_000, () => t.deepEqual(a.held(), [one]));
  }
});

test('without the API server nothing is taken, and stopping ends all the same', async t => {
  const world = new AddressWorld(one);
  const a = world.start('a');
  a.cut('silent');
  await world.pass(10_000);
  t.deepEqual(a.held(), []);
  const stopped = a.leases.stop();
  await world.pass(20_000);
  await stopped;
  t.pass();
});
