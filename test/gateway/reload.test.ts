// Watching real files: every way a configuration changes on a disk leads to one load, and nothing else does.

import { appendFile, mkdir, mkdtemp, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { loadGatewayConfig } from '../../config/load.ts';
import { type WatchOptions, watchConfiguration } from '../../gateway/reload.ts';

const config = 'apiVersion: sallyport.dev/v1alpha1\nkind: GatewayConfig\nlisteners: [{name: a, port: 0}]\n';
const policy = (name: string) =>
  `apiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: ${name}}\nspec: {}\n`;

async function folder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sallyport-reload-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** A watched configuration whose loads are counted. The poll is out of the way unless a test asks for it. */
async function watched(t: ExecutionContext, file: string, changes: Partial<WatchOptions> = {}) {
  const names = async () => {
    const loaded = await loadGatewayConfig(file);
    const found = loaded.ok
      ? loaded.documents.map(({ value }) => (value as { metadata: { name: string } }).metadata.name)
      : null;
    return { loaded, found };
  };
  const state = { ...(await names()), loads: 0, running: 0, overlapped: false };
  const watch = watchConfiguration({
    sources: () => state.loaded.sources,
    async reload() {
      if (state.running++ > 0) state.overlapped = true;
      Object.assign(state, await names());
      state.loads++;
      state.running--;
    },
    debounceMs: 20,
    pollMs: 60_000,
    ...changes,
  });
  t.teardown(() => watch.stop());
  return { state, watch };
}

async function until(t: ExecutionContext, condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (condition()) return void t.pass();
    await sleep(10);
  }
  t.fail(`not within 4 s: ${what}`);
}

/** Long enough for a load that should not happen. */
const quiet = () => sleep(250);

async function plainFolder(t: ExecutionContext, files = '[policies/*.yaml]') {
  const path = await folder(t);
  await mkdir(join(path, 'policies'));
  await writeFile(join(path, 'policies/a.yaml'), policy('a'));
  await writeFile(join(path, 'gateway.yaml'), `${config}policies: {files: ${files}}\n`);
  return path;
}

test('an edit in place', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  await quiet();
  t.is(state.loads, 0);
  await writeFile(join(path, 'policies/a.yaml'), policy('b'));
  await until(t, () => state.loads === 1, 'load');
  t.deepEqual(state.found, ['b']);
  await quiet();
  t.is(state.loads, 1);
});

test('a rename over the file, as editors save, again and again', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  for (const [at, name] of ['b', 'c', 'd'].entries()) {
    await writeFile(join(path, 'new'), policy(name));
    await rename(join(path, 'new'), join(path, 'policies/a.yaml'));
    await until(t, () => state.loads === at + 1, `load ${name}`);
    t.deepEqual(state.found, [name]);
    await sleep(60);
  }
});

test('the swap of a link, as a mounted ConfigMap is updated', async t => {
  const path = await folder(t);
  const files = {
    'gateway.yaml': `${config}policies: {files: ["*policy.yaml"]}\n`,
    'policy.yaml': policy('one'),
  };
  await mkdir(join(path, '..first'));
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(path, '..first', name), text);
    await symlink(`..data/${name}`, join(path, name));
  }
  await symlink('..first', join(path, '..data'));
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  t.deepEqual(state.found, ['one']);
  await mkdir(join(path, '..second'));
  for (const [name, text] of Object.entries({ ...files, 'policy.yaml': policy('two') }))
    await writeFile(join(path, '..second', name), text);
  await symlink('..second', join(path, '..data_tmp'));
  await rename(join(path, '..data_tmp'), join(path, '..data'));
  await rm(join(path, '..first'), { recursive: true });
  await until(t, () => state.found?.[0] === 'two', 'second');
  await quiet();
  t.is(state.loads, 1);
});

test('a file reached through a link to another folder', async t => {
  const path = await plainFolder(t);
  const elsewhere = await folder(t);
  await writeFile(join(elsewhere, 'real'), policy('x'));
  await symlink(join(elsewhere, 'real'), join(path, 'policies/x.yaml'));
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  await sleep(60);
  await writeFile(join(elsewhere, 'real'), policy('y'));
  await until(t, () => state.found?.[1] === 'y', 'load');
});

test('new and removed files that the pattern matches', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  await sleep(60);
  await writeFile(join(path, 'policies/b.yaml'), policy('b'));
  await until(t, () => state.found?.length === 2, 'two');
  await unlink(join(path, 'policies/a.yaml'));
  await until(t, () => state.found?.length === 1, 'one');
  t.deepEqual(state.found, ['b']);
});

test('a missing file that appears', async t => {
  const path = await plainFolder(t, '[later.yaml]');
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  t.is(state.found, null);
  await sleep(60);
  await writeFile(join(path, 'later.yaml'), policy('late'));
  await until(t, () => state.found?.[0] === 'late', 'load');
});

test('the configuration itself, and then what it newly names', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  await mkdir(join(path, 'more'));
  await writeFile(join(path, 'more/m.yaml'), policy('m'));
  await writeFile(join(path, 'gateway.yaml'), `${config}policies: {files: [more/*.yaml]}\n`);
  await until(t, () => state.found?.[0] === 'm', 'new folder');
  await sleep(60);
  await writeFile(join(path, 'more/m.yaml'), policy('n'));
  await until(t, () => state.found?.[0] === 'n', 'edit in the new folder');
});

test('an edit between the load and the start of the watch', async t => {
  const path = await plainFolder(t);
  const file = join(path, 'gateway.yaml');
  const early = await loadGatewayConfig(file);
  await writeFile(join(path, 'policies/a.yaml'), policy('b'));
  let loads = 0;
  const watch = watchConfiguration({
    sources: () => early.sources,
    reload: async () => void loads++,
    debounceMs: 20,
  });
  t.teardown(() => watch.stop());
  await until(t, () => loads === 1, 'load');
});

test('an edit while a load is under way', async t => {
  const path = await plainFolder(t);
  const file = join(path, 'gateway.yaml');
  let { sources } = await loadGatewayConfig(file);
  const seen: string[] = [];
  const watch = watchConfiguration({
    sources: () => sources,
    debounceMs: 20,
    pollMs: 60_000,
    async reload() {
      const loaded = await loadGatewayConfig(file);
      if (seen.length === 0) await writeFile(join(path, 'policies/a.yaml'), policy('during'));
      sources = loaded.sources;
      seen.push(JSON.stringify(loaded.ok && loaded.documents.map(({ value }) => value)));
    },
  });
  t.teardown(() => watch.stop());
  await writeFile(join(path, 'policies/a.yaml'), policy('before'));
  await until(t, () => seen.length === 2, 'second load');
  t.regex(seen[0]!, /before/);
  t.regex(seen[1]!, /during/);
});

test('other files and mere reading load nothing', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  await sleep(60);
  for (let i = 0; i < 20; i++) await appendFile(join(path, 'policies/access.log'), 'line\n');
  await writeFile(join(path, 'gateway.yaml~'), 'x');
  await loadGatewayConfig(join(path, 'gateway.yaml'));
  await quiet();
  t.is(state.loads, 0);
});

test('files are read once they rest, not in the middle of many edits', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'), { debounceMs: 150 });
  for (let i = 0; i < 60; i++) {
    await writeFile(join(path, 'policies/a.yaml'), policy(`n${i}`));
    await sleep(15);
  }
  await until(t, () => state.found?.[0] === 'n59', 'load of the last edit');
  // One, or two where the machine stood still for a while; without the wait for rest it would be six.
  t.true(state.loads <= 2, String(state.loads));
  t.false(state.overlapped);
});

test('files that never rest are read all the same', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  let busy = true;
  const writing = (async () => {
    for (let i = 0; busy; i++) {
      await writeFile(join(path, 'policies/a.yaml'), policy(`n${i}`));
      await sleep(5);
    }
  })();
  await until(t, () => state.loads > 0, 'load');
  busy = false;
  await writing;
});

test('a load that fails is reported, not repeated, and tried again after the next edit', async t => {
  const path = await plainFolder(t);
  const { sources } = await loadGatewayConfig(join(path, 'gateway.yaml'));
  const errors: string[] = [];
  const watch = watchConfiguration({
    sources: () => sources,
    reload: async () => {
      throw new Error('bad');
    },
    onError: error => errors.push(error.message),
    debounceMs: 20,
    pollMs: 40,
  });
  t.teardown(() => watch.stop());
  await writeFile(join(path, 'policies/a.yaml'), policy('b'));
  await until(t, () => errors.length === 1, 'error');
  await quiet();
  t.deepEqual(errors, ['bad']);
  await writeFile(join(path, 'policies/a.yaml'), policy('c'));
  await until(t, () => errors.length === 2, 'second error');
});

test('where nothing tells of a change, the poll finds it', async t => {
  const path = await plainFolder(t, '["deep/*/x.yaml", policies/a.yaml]');
  const { state } = await watched(t, join(path, 'gateway.yaml'), { pollMs: 100 });
  t.is(state.found, null, 'the pattern matches nothing yet');
  await mkdir(join(path, 'deep/er'), { recursive: true });
  await quiet();
  await writeFile(join(path, 'deep/er/x.yaml'), policy('deep'));
  await until(t, () => state.found?.[0] === 'deep', 'load');
});

test('reloadNow loads though nothing changed, one after the other', async t => {
  const path = await plainFolder(t);
  const { state, watch } = await watched(t, join(path, 'gateway.yaml'));
  await Promise.all([watch.reloadNow(), watch.reloadNow(), watch.reloadNow()]);
  t.is(state.loads, 3);
  t.false(state.overlapped);
});

test('a changed time alone is a change: the content is not compared', async t => {
  const path = await plainFolder(t);
  const { state } = await watched(t, join(path, 'gateway.yaml'));
  await sleep(60);
  await utimes(join(path, 'policies/a.yaml'), 1, 1);
  await until(t, () => state.loads === 1, 'load');
});

test('after stop nothing is loaded, and stop waits for a load under way', async t => {
  const path = await plainFolder(t);
  const { sources } = await loadGatewayConfig(join(path, 'gateway.yaml'));
  const events: string[] = [];
  const watch = watchConfiguration({
    sources: () => sources,
    debounceMs: 10,
    async reload() {
      events.push('start');
      await sleep(100);
      events.push('end');
    },
  });
  const reload = watch.reloadNow();
  await until(t, () => events.length === 1, 'start');
  await watch.stop();
  t.deepEqual(events, ['start', 'end']);
  await reload;
  await writeFile(join(path, 'policies/a.yaml'), policy('b'));
  await watch.reloadNow();
  await quiet();
  t.is(events.length, 2);
  await watch.stop();
});
