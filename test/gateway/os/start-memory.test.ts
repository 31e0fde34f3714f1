// What a process holds before and after it gave back what starting took, each in a process of its own: memory is the
// whole process's.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import test from 'ava';
import { codeOf } from '../../../gateway/os/start-memory.ts';
import { startGateway } from '../../support/gateway.ts';
import { during } from '../../support/lifetime.ts';

const program = '/opt/node/bin/node';
const maps = `00400000-0082e000 r--p 00000000 fe:00 5317330                            ${program}
0082e000-03489000 r-xp 0042e000 fe:00 5317330                            ${program}
03489000-072a7000 r--p 03089000 fe:00 5317330                            ${program}
072dc000-07308000 rw-p 06edc000 fe:00 5317330                            ${program}
07308000-07400000 rwxp 06f00000 fe:00 5317330                            ${program}
07400000-07500000 r-xp 00000000 00:00 0
08000000-09000000 r-xp 00000000 fe:00 77                                 ${program}-other
7f0066580000-7f0066795000 r-xp 01627000 fe:00 5317330                    ${program}
7f0067000000-7f0067100000 r-xp 00028000 fe:00 99                         /usr/lib/libc.so.6
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
`;

test('only code of the program is dropped: nothing that could have been written to', t => {
  t.deepEqual(codeOf(maps, program), [
    { from: 0x0082e000n, to: 0x03489000n },
    { from: 0x7f0066580000n, to: 0x7f0066795000n },
  ]);
});

test('a program that was replaced on disk keeps its pages: what is read again would be another', t => {
  t.deepEqual(codeOf(maps.replaceAll(program, `${program} (deleted)`), program), []);
});

/** Runs a module in a process of its own; returns what it printed as JSON. */
async function run(module: string): Promise<{ before: Memory; after: Memory }> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    '--input-type=module-typescript',
    '--eval',
    module,
  ]);
  return JSON.parse(stdout);
}

/** KiB. */
interface Memory {
  anonymous: number;
  file: number;
}

const start = `
  import { readFileSync } from 'node:fs';
  import { dlopen } from 'node:ffi';
  import { giveBackStartMemory } from '${new URL('../../../gateway/os/start-memory.ts', import.meta.url)}';
  const held = () => {
    const status = readFileSync('/proc/self/status', 'latin1');
    const kib = name => Number(new RegExp(name + ':\\\\s+(\\\\d+)').exec(status)[1]);
    return { anonymous: kib('RssAnon'), file: kib('RssFile') };
  };
`;

test("Node's code that only starting needed is not held any more", async t => {
  const { before, after } = await run(`${start}
    const before = held();
    await giveBackStartMemory();
    console.log(JSON.stringify({ before, after: held() }));
  `);
  t.true(after.file < before.file - 4_096, `${before.file} KiB of files before, ${after.file} after`);
});

test('what malloc holds free between what is in use goes back to the kernel', async t => {
  const { before, after } = await run(`${start}
    const { functions: { malloc, free, memset } } = dlopen(null, {
      malloc: { arguments: ['pointer'], return: 'pointer' },
      free: { arguments: ['pointer'], return: 'void' },
      memset: { arguments: ['pointer', 'i32', 'pointer'], return: 'pointer' },
    });
    const size = 100_000n;
    const blocks = Array.from({ length: 300 }, () => memset(malloc(size), 1, size));
    for (const block of blocks.slice(0, -1)) free(block);
    const before = held();
    await giveBackStartMemory();
    console.log(JSON.stringify({ before, after: held() }));
  `);
  t.true(
    after.anonymous < before.anonymous - 20_000,
    `${before.anonymous} KiB before, ${after.anonymous} after`,
  );
});

/** Resident memory of Node's own code in a process, KiB. */
function codeHeldBy(pid: number): number {
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings
    .filter(mapping => mapping.split('\n', 1)[0]!.includes(' r-xp ') && mapping.includes(process.execPath))
    .reduce((sum, mapping) => sum + Number(/^Rss: +(\d+)/m.exec(mapping)![1]), 0);
}

test('a gateway that is ready holds less of it than a process that only loaded the gateway', async t => {
  const gateway = during(t, await startGateway());
  const serve = new URL('../../../gateway/serve.ts', import.meta.url);
  const loader = spawn(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    '--input-type=module-typescript',
    '--eval',
    `await import('${serve}'); console.log('loaded'); setInterval(() => {}, 1_000);`,
  ]);
  t.teardown(() => loader.kill());
  await once(loader.stdout, 'data');
  const [ready, loaded] = [codeHeldBy(gateway.process.pid!), codeHeldBy(loader.pid!)];
  t.true(ready > 0 && ready < loaded / 2, `${ready} KiB in the gateway, ${loaded} in the other`);
});
