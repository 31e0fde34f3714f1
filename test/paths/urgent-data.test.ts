// Urgent data (RFC 9293 section 3.8.5, RFC 6093), as telnet and FTP's ABOR send it: the urgent byte itself is not carried,
// and nothing before or behind it is lost or kept back. Node cannot send it; Python does.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { startGateway } from '../support/gateway.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { tcpOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

/** Opens a tunnel, sends what `steps` says, and waits until the test closes its standard input. */
const program = (steps: string) => `
import os, signal, socket, sys, time
proxy, port, gateway = map(int, sys.argv[1:])
s = socket.create_connection(('127.0.0.1', proxy))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.sendall(b'CONNECT 127.0.0.1:%d HTTP/1.1\\r\\n\\r\\n' % port)
s.recv(1000)
${steps}
sys.stdin.read()
`;

const urgent = `s.sendall(b'abc'); s.send(b'!', socket.MSG_OOB)`;

interface Case {
  name: string;
  steps: string;
  /** How many bytes reach the destination, how they end, and whether the sender has ended by then. */
  length: number;
  tail: string;
  ends: boolean;
}

const cases: Case[] = [
  {
    name: 'in a chat, all of it found in one turn',
    steps: `
s.sendall(b'first'); time.sleep(.3)
os.kill(gateway, signal.SIGSTOP); time.sleep(.1)
${urgent}; s.sendall(b'efg'); time.sleep(.1)
os.kill(gateway, signal.SIGCONT)`,
    length: 11,
    tail: 'firstabcefg',
    ends: false,
  },
  {
    name: 'in a long upload that goes on',
    steps: `
s.sendall(b'x' * 20_000_000); time.sleep(.3)
${urgent}
for _ in range(20): s.sendall(b'y' * 1000); time.sleep(.01)`,
    length: 20_020_003,
    tail: 'abcyyyyy',
    ends: false,
  },
  {
    name: 'in a long upload that ends behind it',
    steps: `
s.sendall(b'x' * 20_000_000); time.sleep(.3)
${urgent}
for _ in range(20): s.sendall(b'y' * 1000); time.sleep(.01)
s.shutdown(socket.SHUT_WR)`,
    length: 20_020_003,
    tail: 'abcyyyyy',
    ends: true,
  },
];

async function upload(t: ExecutionContext, mode: string, steps: string) {
  const config = { threads: 1, relay: { mode } };
  const gateway = during(t, await startGateway({ policies: [allowLoopback], config }));
  const seen = { length: 0, ended: false, tail: '' };
  const origin = during(
    t,
    await tcpOrigin(socket => {
      socket.on('data', (chunk: Buffer) => {
        seen.length += chunk.length;
        seen.tail = (seen.tail + chunk.toString('latin1')).slice(-20_003);
      });
      socket.on('end', () => {
        seen.ended = true;
        socket.end();
      });
    }),
  );
  const args = ['-c', program(steps), ...[gateway.proxy, origin.port, gateway.pid].map(String)];
  const python = spawn('python3', args, { stdio: ['pipe', 'inherit', 'inherit'] });
  const exited = once(python, 'exit');
  t.teardown(async () => {
    python.stdin.end();
    await exited;
  });
  return seen;
}

for (const mode of ['auto', 'streams'])
  for (const { name, steps, length, tail, ends } of cases)
    test.serial(`relay ${mode}: ${name}`, async t => {
      const seen = await upload(t, mode, steps);
      await eventually(
        () => seen.length >= length || undefined,
        `${length} bytes`,
        () => `${seen.length}`,
      );
      t.is(seen.length, length);
      t.is(seen.tail.slice(0, tail.length), tail);
      if (ends) await eventually(() => seen.ended || undefined, 'the end');
      t.is(seen.ended, ends);
    });
