// The addresses of one host while others are on the network: strangers that claim one, sessions that are told of a
// loss, a process that was stopped and goes on.

import test from 'ava';
import { type Host, type Lan, makeLan } from '../support/lan.ts';
import { eventually } from '../support/waiting.ts';
import { type Holder, holderOn, networkTest, networkTrouble } from './os/network-hosts.ts';

let lan: Lan;
let one: Host;
let two: Host;
test.before(async () => {
  if (networkTrouble !== null) return;
  lan = await makeLan(['one', 'two']);
  one = lan.hosts.one!;
  two = lan.hosts.two!;
});
test.after.always(() => lan?.close());

/** Two hosts for one test. */
function holders(t: { teardown(end: () => void): void }): [first: Holder, second: Holder] {
  const both: [Holder, Holder] = [holderOn(one), holderOn(two)];
  t.teardown(() => {
    for (const holder of both) holder.kill();
  });
  return both;
}

for (const address of ['10.77.0.110', 'fd77::110']) {
  networkTest(`${address}: a first claim of a stranger is stood up to, a second is not`, async t => {
    const [holder, stranger] = holders(t);
    t.is(await holder.ask('take', address, 60), 'held');
    // The announcements of the beginning are over, so that the next one is the answer.
    await stranger.ask('listen', address);
    await eventually(async () => (await stranger.ask('heard', address)) === 'has' || undefined, 'the first');
    t.is(await holder.ask('contested', address), 'false');
    await stranger.ask('claim', address);
    const answered = async () => {
      t.is(await holder.ask('contested', address), 'false', 'one claim alone is no contest');
      return (await stranger.ask('heard', address)) === 'has' || undefined;
    };
    await eventually(answered, 'the holder to answer');
    await stranger.ask('claim', address);
    const contested = async () => (await holder.ask('contested', address)) === 'true' || undefined;
    await eventually(contested, 'the second claim');
    await holder.ask('release', address);
  });

  networkTest(`${address}: one who asks whether it is free contests nothing`, async t => {
    const [holder, stranger] = holders(t);
    t.is(await holder.ask('take', address, 60), 'held');
    for (let tries = 0; tries < 3; tries++)
      t.is(await stranger.ask('take', address, 60), 'duplicate', 'while the other has it');
    t.is(await holder.ask('contested', address), 'false');
    t.is(await holder.ask('has', address), 'true');
    t.is(await stranger.ask('lost', address), '', 'what was never held is not lost');
    await holder.ask('release', address);
    t.is(await holder.ask('lost', address), address);
    await holder.ask('release', address);
    t.is(await holder.ask('lost', address), address, 'once');
  });

  networkTest(`${address}: a host that was stopped while it looked adds nothing afterwards`, async t => {
    const [holder, neighbour] = holders(t);
    t.is(await holder.ask('link', address), 'true');
    await neighbour.ask('listen', address);
    const taken = holder.ask('take', address, 2);
    const heard = async () => (await neighbour.ask('heard', address)) === 'looks' || undefined;
    await eventually(heard, 'it to look');
    holder.signal('SIGSTOP');
    await new Promise(resolve => setTimeout(resolve, 2_500));
    holder.signal('SIGCONT');
    t.regex(await taken, /^failed: no whole second is left/);
    t.is(await holder.ask('has', address), 'false');
    t.is(await holder.ask('held', address), '');
  });

  networkTest(`${address}: a host that was stopped while it held announces nothing afterwards`, async t => {
    const [holder, neighbour] = holders(t);
    await neighbour.ask('listen', address);
    t.is(await holder.ask('take', address, 2), 'held');
    // Not in the middle of the first announcement, between its look at the time and its frame.
    await eventually(async () => (await neighbour.ask('heard', address)) === 'has' || undefined, 'the first');
    holder.signal('SIGSTOP');
    // The kernel looks at most a second late.
    await new Promise(resolve => setTimeout(resolve, 3_500));
    await neighbour.ask('heard', address);
    holder.signal('SIGCONT');
    t.is(await holder.ask('has', address), 'false');
    t.is(await neighbour.ask('heard', address), 'nothing');
    await holder.ask('release', address);
    t.is(await holder.ask('lost', address), address);
  });
}

networkTest('a time that is over is not added again, an address that was given back not renewed', async t => {
  const [holder] = holders(t);
  const address = '10.77.0.111';
  t.is(await holder.ask('take', address, 3), 'held');
  t.is(await holder.ask('renew', address, 0.5), `failed: no whole second is left to hold ${address}`);
  await holder.ask('release', address);
  t.is(await holder.ask('renew', address, 60), `failed: ${address} is not taken`);
  t.is(await holder.ask('has', address), 'false');
});

networkTest('the same address is not taken twice, and can be taken again once it was given back', async t => {
  const [holder] = holders(t);
  const address = '10.77.0.112';
  t.is(await holder.ask('take', address, 60), 'held');
  t.is(await holder.ask('take', address, 60), `failed: ${address} is taken already`);
  t.is(await holder.ask('held', address), address);
  await holder.ask('release', address);
  t.is(await holder.ask('take', address, 60), 'held');
  await holder.ask('release', address);
});
