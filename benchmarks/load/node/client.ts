// The load client in Node, a process of its own: takes one load at a time as a line of JSON and answers with a line.
// It knows no peer; it is told a port. The Go client does the same for less processor time.

import { createInterface } from 'node:readline';
import type { LoadRequest } from '../protocol.ts';
import { loads } from './loads.ts';

const answer = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as LoadRequest;
  try {
    answer({ result: await loads[request.load](request) });
  } catch (error) {
    answer({ failure: String(error) });
  }
}
process.exit();
