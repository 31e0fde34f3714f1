// Hosts that hold addresses, for tests on a network of namespaces: each is a process of held-address-host.ts in one of
// them. Where namespaces cannot be made the tests say so and are left out, unless CI is set.

import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { type Host, lanTrouble } from '../../support/lan.ts';
import { within } from '../../support/waiting.ts';

const program = new URL('./held-address-host.ts', import.meta.url).pathname;

const trouble = await lanTrouble();
if (trouble !== null && process.env.CI) throw new Error(`networks of namespaces cannot be made: ${trouble}`);

/** Null where networks can be made, else why not. */
export const networkTrouble = trouble;

/** A test that needs a network. */
export function networkTest(title: string, run: (t: ExecutionContext) => Promise<void>): void {
  if (trouble === null) test.serial(title, run);
  else test.serial.skip(`${title} (NOT RUN: ${trouble})`, run);
}

export interface Holder {
  ask(command: string, address: string, seconds?: number): Promise<string>;
  signal(signal: NodeJS.Signals): void;
  kill(): void;
}

export function holderOn(host: Host): Holder {
  const child = host.spawn(process.execPath, '--disable-warning=ExperimentalWarning', program);
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
  return {
    async ask(command, address, seconds = 0) {
      child.stdin!.write(`${command} ${address} ${seconds}\n`);
      const { value } = await within(lines.next(), `an answer to ${command} ${address}`);
      return String(value);
    },
    signal: signal => void child.kill(signal),
    kill: () => void child.kill('SIGKILL'),
  };
}
