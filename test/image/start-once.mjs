// Starts a gateway once and prints, as one line of JSON, how long it took until it was ready and the memory it then
// had. It runs in the image as well as beside a checkout, so it uses nothing but Node.
//
//   node start-once.mjs CONFIG COMMAND...

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

const [config, command, ...args] = process.argv.slice(2);
const begun = performance.now();
const child = spawn(command, [...args, 'serve', '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
const exited = once(child, 'exit');
let messages = '';
for await (const chunk of child.stderr.setEncoding('utf8')) {
  messages += chunk;
  if (messages.includes('"msg":"ready"')) break;
}
const ms = performance.now() - begun;
const memory = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'));
child.kill('SIGTERM');
const [code] = await exited;
console.log(JSON.stringify({ ms, rssMiB: Number(memory[1]) / 1024, code }));
