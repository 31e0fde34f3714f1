// Byte for byte through a real gateway process, for each relay: thousands of tunnels of all kinds, each with its one
// record and its right counts, nothing left behind, and bounded memory where a side never reads. run.ts runs ten times as many.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { lifetime } from '../support/lifetime.ts';
import { hasNamespaces } from '../support/network-namespace.ts';
import { runManyTunnels } from './many-tunnels.ts';
import { relayModes } from './modes.ts';
import { runNarrow } from './narrow.ts';
import { kinds } from './plan.ts';
import { runStalls } from './stalls.ts';

/** SALLYPORT_LONG_TESTS=1: as many tunnels and as long a stall as run.ts has. */
const long = process.env.SALLYPORT_LONG_TESTS === '1';

const seed = Date.now() & 0xffff;

/** The first complaints are enough to see what is wrong. */
const first = (complaints: string[]) => complaints.slice(0, 10);

for (const mode of relayModes) {
  const tunnels = long ? 20_000 : 3_000;

  test.serial(
    `${mode}: ${tunnels} tunnels of all kinds, every byte in its place, one record each`,
    async t => {
      t.timeout(600_000);
      const scope = lifetime();
      t.teardown(() => scope.close());
      const { complaints, kinds: seen } = await runManyTunnels(scope, { mode, tunnels, seed });
      t.deepEqual(first(complaints), [], `seed ${seed}`);
      for (const kind of kinds) t.true((seen.get(kind) ?? 0) > 0, `some are ${kind} (seed ${seed})`);
    },
  );

  test.serial(`${mode}: the same where sockets have buffers of a few kilobytes`, async t => {
    t.timeout(300_000);
    if (!(await hasNamespaces(t))) return;
    const { code, text } = await runNarrow(mode, long ? 5_000 : 400, seed);
    t.is(code, 0, text.slice(-3_000));
    t.regex(text, /: 0 complaints\n$/);
  });

  test.serial(`${mode}: sides that never read cost bounded memory and hold nobody else up`, async t => {
    t.timeout(300_000);
    const scope = lifetime();
    t.teardown(() => scope.close());
    const stalls = { mode, seed, stalledMs: long ? 60_000 : 10_000, otherTunnels: 200 };
    const { complaints, sentIntoStall } = await runStalls(scope, stalls);
    t.deepEqual(first(complaints), [], `seed ${seed}`);
    t.true(sentIntoStall > 0);
  });
}

test.serial('one wrong byte of one tunnel is seen, and nothing else is', async t => {
  const scope = lifetime();
  t.teardown(() => scope.close());
  const flawedTunnel = 57; // by the seed a tunnel that ends in order and has bytes down
  const options = { mode: relayModes[0], tunnels: 50, seed: 1, flawedTunnel };
  const { complaints } = await runManyTunnels(scope, options);
  t.is(complaints.length, 1);
  t.regex(complaints[0]!, /^tunnel 57 .*: the client got a wrong byte at 0 of /);
});

/** Exit code and standard error of run.ts. */
function run(...options: string[]): Promise<{ code: unknown; stderr: string }> {
  const file = fileURLToPath(new URL('./run.ts', import.meta.url));
  const { promise, resolve } = Promise.withResolvers<{ code: unknown; stderr: string }>();
  execFile(process.execPath, [file, ...options], (error, _, stderr) =>
    resolve({ code: error?.code ?? 0, stderr }),
  );
  return promise;
}

for (const options of [['--mode', 'magic'], ['--tunnels', 'many'], ['--unknown']]) {
  test.serial(`run.ts ${options.join(' ')}: misuse, and how it is meant`, async t => {
    const { code, stderr } = await run(...options);
    t.is(code, 2);
    t.regex(stderr, /Usage: node test\/integrity\/run\.ts/);
  });
}
