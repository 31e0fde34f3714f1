// The application as the image has it: made JavaScript in a copy, and run by a Node that strips no types.

import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

test('nothing of the application is left to strip, in its threads neither', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-stripped-'));
  t.teardown(() => rm(folder, { recursive: true }));
  for (const name of ['config', 'gateway', 'k8s', 'package.json'])
    await cp(join(root, name), join(folder, name), { recursive: true });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  await run(process.execPath, ['--no-warnings', join(root, 'k8s/image/strip-types.ts'), folder]);
  t.deepEqual(globSync('{config,gateway,k8s}/**/*.ts', { cwd: folder }), []);
  const lines = (file: string) => readFileSync(file, 'utf8').split('\n').length;
  t.is(lines(join(folder, 'gateway/serve.js')), lines(join(root, 'gateway/serve.ts')));

  const node = (...argv: string[]) =>
    run(process.execPath, ['--no-strip-types', '--no-warnings', ...argv], { cwd: folder });
  const { stdout } = await node('k8s/image/sallyport.mjs', 'check', 'config/gateway.yaml');
  t.regex(stdout, /config\/gateway\.yaml/);
  const script = `
    import { globSync } from 'node:fs';
    import { loadAside } from './gateway/load-aside.js';
    const starts = /(main|-worker)\\.js$/;
    for (const file of globSync(['{config,gateway}/**/*.js', 'k8s/*.js'])) if (!starts.test(file)) await import('./' + file);
    console.log((await loadAside('config/gateway.yaml')).ok);
    process.exit();`;
  t.is((await node('--input-type=module', '--eval', script)).stdout, 'true\n');
});
