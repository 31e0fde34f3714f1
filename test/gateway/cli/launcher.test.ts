// The launcher as a program: through links, from any folder, under whatever Node the machine has.

import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

const launcher = join(import.meta.dirname, '../../../gateway/cli/sallyport');

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

function start(
  file: string,
  argv: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  return new Promise(resolve =>
    execFile(file, argv, options, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    ),
  );
}

async function folder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sallyport launcher '));
  t.teardown(() => rm(path, { recursive: true }));
  return path;
}

/** A copy of the launcher in a project of its own, whose main.ts is the shell's to run: `node` is a script here. */
async function projectWith(t: ExecutionContext, files: Record<string, string>): Promise<string> {
  const root = await folder(t);
  await mkdir(join(root, 'gateway/cli'), { recursive: true });
  await cp(launcher, join(root, 'gateway/cli/sallyport'));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(root, name, '..'), { recursive: true });
    await writeFile(join(root, name), text);
    await chmod(join(root, name), 0o755);
  }
  return root;
}

const nodeOf = (major: number) =>
  `#!/bin/sh\nif [ "$1" = -p ]; then echo ${major}; else echo "node ${major}:" "$@"; fi\n`;

test('it runs, without a word of its own', async t => {
  const { code, stdout, stderr } = await start(launcher, ['--version']);
  t.is(code, 0);
  t.regex(stdout, /^sallyport \d/);
  t.is(stderr, '');
});

test('its exit code is the exit code of the command', async t => {
  t.is((await start(launcher, ['nonsense'])).code, 2);
  t.is((await start(launcher, ['check', '/no/such/file'])).code, 1);
});

test('through links, relative and absolute, from another folder', async t => {
  const path = await folder(t);
  await symlink(launcher, join(path, 'one'));
  await symlink('one', join(path, 'two'));
  const { code, stdout } = await start(join(path, 'two'), ['--version'], { cwd: '/' });
  t.is(code, 0);
  t.regex(stdout, /^sallyport \d/);
});

test('the pinned Node comes first, and arguments are passed as they are', async t => {
  const root = await projectWith(t, { 'node_modules/.bin/node': nodeOf(26), 'bin/node': nodeOf(30) });
  const env = { PATH: `${root}/bin:/usr/bin:/bin` };
  const { stdout } = await start(join(root, 'gateway/cli/sallyport'), ['a b', '$c', ''], { env });
  t.is(
    stdout,
    `node 26: --disable-warning=ExperimentalWarning --max-semi-space-size=4 --v8-pool-size=2 ${root}/gateway/main.ts a b $c \n`,
  );
});

test("without it, the machine's own where it is 26 or later", async t => {
  const root = await projectWith(t, { 'bin/node': nodeOf(26) });
  const { stdout } = await start(join(root, 'gateway/cli/sallyport'), [], {
    env: { PATH: `${root}/bin:/usr/bin:/bin` },
  });
  t.regex(stdout, /^node 26:/);
});

test('an older one is refused with the remedy', async t => {
  const root = await projectWith(t, { 'bin/node': nodeOf(25) });
  const { code, stdout, stderr } = await start(join(root, 'gateway/cli/sallyport'), [], {
    env: { PATH: `${root}/bin:/usr/bin:/bin` },
  });
  t.deepEqual([code, stdout], [2, '']);
  t.regex(stderr, /^sallyport: Node 26 or later is needed, found version 25; npm ci in .* brings its own\n$/);
});

const program = "const words: string = 'it runs';\nconsole.log(words);\n";

/** As `projectWith`, with a real Node and a program in TypeScript. */
async function realProjectWith(t: ExecutionContext, files: Record<string, string>): Promise<string> {
  const manifest = '{"type": "module"}';
  const root = await projectWith(t, { 'gateway/main.ts': program, 'package.json': manifest, ...files });
  await mkdir(join(root, 'node_modules/.bin'), { recursive: true });
  await symlink(process.execPath, join(root, 'node_modules/.bin/node'));
  return root;
}

/** Without what the test's own Node was told. */
const { NODE_COMPILE_CACHE: _, NODE_V8_COVERAGE: __, ...environment } = process.env;

test('what Node compiled is kept beside the code', async t => {
  const root = await realProjectWith(t, {});
  const outcome = await start(join(root, 'gateway/cli/sallyport'), [], { env: environment });
  t.deepEqual(outcome, { code: 0, stdout: 'it runs\n', stderr: '' });
  t.is((await readdir(join(root, 'node_modules/.cache/compile'))).length, 1);
});

test('it starts without a word where nothing can be kept, and where what was kept is broken', async t => {
  const root = await realProjectWith(t, { 'node_modules/.cache': 'a file where the folder would be' });
  const command = join(root, 'gateway/cli/sallyport');
  t.deepEqual(await start(command, [], { env: environment }), { code: 0, stdout: 'it runs\n', stderr: '' });

  const cache = join(root, 'elsewhere');
  const env = { ...environment, NODE_COMPILE_CACHE: cache };
  await start(command, [], { env });
  const kept = await readdir(cache, { recursive: true, withFileTypes: true });
  const files = kept.filter(entry => entry.isFile());
  t.true(files.length > 0);
  for (const { parentPath, name } of files) await writeFile(join(parentPath, name), 'nonsense');
  t.deepEqual(await start(command, [], { env }), { code: 0, stdout: 'it runs\n', stderr: '' });
});
