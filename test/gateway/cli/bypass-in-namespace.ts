// A program for a network namespace whose routes refuse: what the probe tells of them. It prints the command's JSON;
// bypass.test.ts starts it and judges.

import { execFileSync } from 'node:child_process';
import { run } from './run.ts';

const routes = 'ip route add prohibit 198.51.100.0/24; ip route add unreachable 203.0.113.0/24';
execFileSync('sh', ['-euc', routes]);

const targets = ['198.51.100.1:443', '203.0.113.1:443', '192.0.2.1:443', '[2001:db8::1]:443'];
const { stdout } = await run(['bypass', '--target', ...targets, '--dns', '192.0.2.1', '--output', 'json']);
process.stdout.write(stdout);
