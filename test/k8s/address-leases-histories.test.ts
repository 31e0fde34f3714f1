// Random histories of leased addresses: replicas are killed, stopped, cut off, lose links, drain and come back; answers
// are lost; kernels are late. At no moment two hosts answer for one address, and in the end each has a holder.

import test from 'ava';
import fc from 'fast-check';
import { AddressWorld, type FakeReplica } from './address-world.ts';

const addresses = ['192.0.2.1', '192.0.2.2', '2001:db8::1'];

const names = ['a', 'b', 'c'];

type Step = (typeof kinds)[number];

const kinds = [
  'kill',
  'freeze',
  'thaw',
  'refuse',
  'silence',
  'mend',
  'unplug',
  'plug',
  'drain',
  'lose answers',
  'keep answers',
  'end watches',
  'delete a Lease',
] as const;

const history = fc.array(
  fc.record({
    kind: fc.constantFrom(...kinds),
    who: fc.constantFrom(...names),
    ms: fc.integer({ min: 0, max: 6_000 }),
  }),
  { maxLength: 12 },
);

class Story {
  readonly world = new AddressWorld(...addresses);
  readonly #replicas = new Map<string, FakeReplica>();
  readonly #losing = new Set<string>();

  constructor(lateness: number) {
    this.world.kernelLatenessMs = () => lateness;
    for (const name of names) this.#replicas.set(name, this.world.start(name));
    this.world.server.lostAnswer = ({ from }) => {
      if (this.#losing.has(from)) throw new Error('connection reset');
    };
  }

  async step(kind: Step, who: string): Promise<void> {
    const replica = this.#replicas.get(who)!;
    if (kind === 'kill') this.#restart(who);
    else if (kind === 'freeze') replica.freeze();
    else if (kind === 'thaw') replica.thaw();
    else if (kind === 'refuse') replica.cut('refused');
    else if (kind === 'silence') replica.cut('silent');
    else if (kind === 'mend') replica.cut(null);
    else if (kind === 'unplug') replica.host.link = false;
    else if (kind === 'plug') replica.host.link = true;
    else if (kind === 'drain') {
      void replica.leases.stop();
      this.#restart(who, false);
    } else if (kind === 'lose answers') this.#losing.add(who);
    else if (kind === 'keep answers') this.#losing.delete(who);
    else if (kind === 'end watches') this.world.server.endWatches();
    else await this.#deleteOne();
  }

  /** Another process takes its place at once. */
  #restart(who: string, kill = true): void {
    if (kill) this.#replicas.get(who)!.kill();
    this.#replicas.set(who, this.world.start(who));
  }

  async #deleteOne(): Promise<void> {
    const path = [...this.world.server.objects.keys()].find(each => each.includes('sallyport-address-'));
    if (path !== undefined) await this.world.server.as('admin').delete(path);
  }

  check(): void {
    for (const address of addresses) {
      const holders = this.world.holders(address);
      if (new Set(holders).size > 1) throw new Error(`${holders.join(' and ')} answer for ${address}`);
      for (const replica of this.#replicas.values())
        if (replica.held().includes(address) && replica.host.link && !replica.host.has(address))
          throw new Error(`${replica.name} takes ${address} for its own, and its host does not have it`);
    }
  }

  async end(): Promise<void> {
    this.#losing.clear();
    for (const replica of this.#replicas.values()) {
      replica.thaw();
      replica.cut(null);
      replica.host.link = true;
    }
    const allHeld = () => addresses.every(address => this.world.holders(address).length === 1);
    await this.world.until(allHeld, () => this.check(), 40_000);
  }
}

test('whatever happens, never two hosts with one address, and in the end one for each', async t => {
  await fc.assert(
    fc.asyncProperty(history, fc.integer({ min: 0, max: 1_000 }), async (steps, lateness) => {
      const story = new Story(lateness);
      await story.world.pass(8_000, () => story.check());
      for (const { kind, who, ms } of steps) {
        await story.step(kind, who);
        await story.world.pass(ms, () => story.check());
      }
      await story.end();
    }),
    { numRuns: process.env.CI ? 150 : 40 },
  );
  t.pass();
});
