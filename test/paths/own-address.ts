// A program for a network namespace: the host gets an address while the gateway runs, and somebody asks the gateway for
// itself there. It prints the statuses as JSON; source-address.test.ts starts it and judges.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startGateway } from '../support/gateway.ts';
import { connect } from '../support/http-client.ts';
import { lifetime } from '../support/lifetime.ts';
import { clusterPolicy } from '../support/policies.ts';
import { openRaw } from '../support/raw-client.ts';

export interface OwnAddress {
  /** With the control thread alone, and with threads: of an address of before, and of the new one. */
  statuses: Record<string, number[]>;
}

const ip = (...args: string[]) => promisify(execFile)('ip', args);
const policy = clusterPolicy({
  name: 'everything',
  rules: [{ name: 'all', action: 'Allow', to: [{ cidr: '0.0.0.0/0' }] }],
});
const statuses: Record<string, number[]> = {};
await ip('address', 'add', '20.0.0.1/24', 'dev', 'lo');

for (const threads of [1, 3]) {
  const scope = lifetime();
  const listeners = [{ name: 'proxy', address: '0.0.0.0', port: 0, protocols: ['http'] }];
  const gateway = scope.own(await startGateway({ policies: [policy], config: { threads, listeners } }));
  const { port } = gateway.listener('proxy');
  /** Often enough to meet every thread; the worst that any of them says. */
  const ask = async (address: string) => {
    const answers: number[] = [];
    for (let at = 0; at < 12; at++) {
      const client = scope.own(await openRaw({ port, from: `127.54.${threads}.${at + 1}` }));
      answers.push((await connect(client, `${address}:${port}`)).status);
    }
    return Math.min(...answers);
  };
  const before = await ask('20.0.0.1');
  await ip('address', 'add', `20.0.0.${10 + threads}/24`, 'dev', 'lo');
  await gateway.waitForMessage(({ msg }) => msg === 'the addresses of this host changed');
  // To the threads it is on its way.
  await new Promise(resolve => setTimeout(resolve, 300));
  statuses[threads] = [before, await ask(`20.0.0.${10 + threads}`)];
  await scope.close();
}

const result: OwnAddress = { statuses };
console.log(JSON.stringify(result));
