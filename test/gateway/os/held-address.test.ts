// Addresses that move between hosts, on a network of namespaces: free or taken, announced, renewed, left behind by a
// host that was killed.

import test from 'ava';
import { type Host, type Lan, makeLan } from '../../support/lan.ts';
import { eventually } from '../../support/waiting.ts';
import { holderOn, networkTest, networkTrouble } from './network-hosts.ts';

/** The link-layer address at which the neighbour reaches the address; null where it does not. */
async function seenFrom(host: Host, address: string): Promise<string | null> {
  // Nothing listens there: the refusal is the answer of the host.
  const attempt = host.run('timeout', '2', 'bash', '-c', `: > /dev/tcp/${address}/9`);
  const said = await attempt.catch((error: Error) => error.message);
  if (!/refused/.test(said)) return null;
  const known = await host.run('ip', 'neighbour', 'show', address);
  return /lladdr (\S+)/.exec(known)?.[1] ?? null;
}

const macOf = async (host: Host) => /ether (\S+)/.exec(await host.run('ip', 'link', 'show', 'eth0'))![1]!;

let lan: Lan;
test.before(async () => {
  if (networkTrouble === null) lan = await makeLan(['one', 'two', 'neighbour']);
});
test.after.always(() => lan?.close());

for (const address of ['10.77.0.100', 'fd77::100']) {
  networkTest(`${address} moves: a neighbour that knew the old place finds the new one at once`, async t => {
    const { one, two, neighbour } = lan.hosts as Record<string, Host>;
    const [first, second] = [holderOn(one!), holderOn(two!)];
    t.is(await first.ask('take', address, 60), 'held');
    t.is(await seenFrom(neighbour!, address), await macOf(one!));
    t.is(await second.ask('take', address, 60), 'duplicate', 'while another host has it');
    t.is(await second.ask('has', address), 'false');
    await first.ask('release', address);
    t.is(await first.ask('has', address), 'false');
    t.is(await second.ask('take', address, 60), 'held');
    t.is(await seenFrom(neighbour!, address), await macOf(two!));
    await second.ask('release', address);
    for (const holder of [first, second]) holder.kill();
  });

  networkTest(`${address}: a holder that is killed leaves nothing behind once its time is over`, async t => {
    const { one } = lan.hosts as Record<string, Host>;
    const [holder, watcher] = [holderOn(one!), holderOn(one!)];
    t.is(await holder.ask('take', address, 4), 'held');
    holder.kill();
    t.is(await watcher.ask('has', address), 'true');
    const gone = async () => (await watcher.ask('has', address)) === 'false' || undefined;
    await eventually(gone, 'the kernel to remove it');
    watcher.kill();
  });
}

networkTest('what an earlier process left is removed, what the host has for good is not', async t => {
  const { one } = lan.hosts as Record<string, Host>;
  const [holder, next] = [holderOn(one!), holderOn(one!)];
  t.is(await holder.ask('take', '10.77.0.101', 60), 'held');
  holder.kill();
  await next.ask('leftovers', '10.77.0.101');
  t.is(await next.ask('has', '10.77.0.101'), 'false');
  await next.ask('leftovers', one!.ipv4);
  t.is(await next.ask('has', one!.ipv4), 'true');
  next.kill();
});

networkTest('without carrier nothing is taken', async t => {
  const { one } = lan.hosts as Record<string, Host>;
  const holder = holderOn(one!);
  await one!.cut();
  t.is(await holder.ask('take', '10.77.0.103', 60), 'no-link');
  await one!.mend();
  const back = async () => (await holder.ask('take', '10.77.0.103', 60)) === 'held' || undefined;
  await eventually(back, 'the carrier');
  await holder.ask('release', '10.77.0.103');
  holder.kill();
});
