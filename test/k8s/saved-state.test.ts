// The saved copy: what was written comes back whole, and nothing else does.

import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readSavedState, type SavedState, StateSaver, writeSavedState } from '../../k8s/saved-state.ts';
import { lifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const server = new URL('https://10.96.0.1:443');

const state: SavedState = new Map<string, readonly unknown[]>([
  [
    'pods',
    Array.from({ length: 450 }, (_, at) => [`ns/pod-${at}`, { uid: `${at}`, labels: { text: 'zoë\n☂' } }]),
  ],
  ['nodes', []],
  ['lost', [['uid', ['10.0.0.1']]]],
]);

const withFolder = test.macro(async (t, body: (t: ExecutionContext, file: string) => Promise<void>) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-saved-'));
  try {
    await body(t, path.join(folder, 'state'));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('what was written comes back, in its order', withFolder, async (t, file) => {
  await writeSavedState(file, server, state);
  const { state: read, ageMs } = await readSavedState(file, server);
  t.deepEqual(read.get('pods'), state.get('pods') as unknown[]);
  t.deepEqual(read.get('lost'), state.get('lost') as unknown[]);
  t.is(read.get('nodes') ?? null, null, 'an empty section is none');
  t.true(ageMs >= 0 && ageMs < 60_000);
});

test('only its owner may read it, and nothing else is left in the folder', withFolder, async (t, file) => {
  await writeFile(`${file}.new`, 'of a process that was killed');
  await writeSavedState(file, server, state);
  await writeSavedState(file, server, new Map([['pods', [1]]]));
  t.is((await stat(file)).mode & 0o777, 0o600);
  t.deepEqual(await readdir(path.dirname(file)), ['state']);
  t.deepEqual([...(await readSavedState(file, server)).state], [['pods', [1]]]);
});

const spoiled: [string, (text: string) => string, RegExp][] = [
  ['empty', () => '', /it is no saved copy/],
  ['another file', () => 'listeners: []\n', /it is no saved copy/],
  ['a head of other things', text => text.replace(/"savedMs":\d+/, '"savedMs":"now"'), /it is no saved copy/],
  ['one byte changed', text => text.replace('pod-77', 'pod-78'), /it is damaged/],
  ['a line missing', text => text.split('\n').toSpliced(2, 1).join('\n'), /it is damaged/],
  [
    'another format',
    text => text.replace('"format":1', '"format":2'),
    /its format is 2, this version reads 1/,
  ],
  [
    'the future',
    text => text.replace(/"savedMs":\d+/, `"savedMs":${Date.now() + 600_000}`),
    /from the future/,
  ],
];

for (const [name, spoil, message] of spoiled)
  test(`refused: ${name}`, withFolder, async (t, file) => {
    await writeSavedState(file, server, state);
    await writeFile(file, spoil(await readFile(file, 'utf8')));
    await t.throwsAsync(readSavedState(file, server), { message });
  });

test(
  "refused: of another cluster, missing, too large, or anybody's to write",
  withFolder,
  async (t, file) => {
    await t.throwsAsync(readSavedState(file, server), { message: /cannot be read \(ENOENT\)/ });
    await writeSavedState(file, server, state);
    await t.throwsAsync(readSavedState(file, new URL('https://example.com')), {
      message: /it is of https:\/\/10\./,
    });
    await chmod(file, 0o606);
    await t.throwsAsync(readSavedState(file, server), { message: /anybody may write .*chmod 600/ });
    await chmod(file, 0o600);
    await truncate(file, 65 * 1024 ** 2);
    await t.throwsAsync(readSavedState(file, server), { message: /has more than 67108864 bytes/ });
  },
);

test('a little from the future is a clock', withFolder, async (t, file) => {
  await writeSavedState(file, server, state);
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(/"savedMs":\d+/, `"savedMs":${Date.now() + 60_000}`));
  t.is((await readSavedState(file, server)).ageMs, 0);
});

test('a state that could not be read again is not written', withFolder, async (t, file) => {
  await writeSavedState(file, server, state);
  const large = new Map([['pods', Array.from({ length: 70 }, () => 'x'.repeat(1024 ** 2))]]);
  await t.throwsAsync(writeSavedState(file, server, large), { message: /more than 67108864 bytes/ });
  t.is((await readSavedState(file, server)).state.get('pods')?.length, 450);
});

test(
  'the saver writes after changes, tells of trouble once, and saves at the end',
  withFolder,
  async (t, file) => {
    const scope = lifetime();
    const told: string[] = [];
    let items = [1];
    let whole = false;
    const saver = new StateSaver({
      file: path.join(path.dirname(file), 'missing', 'state'),
      server,
      state: () => new Map([['pods', items]]),
      tell: (_level, _fields, text) => told.push(text),
      gapMs: 5,
    });
    scope.own({ close: () => saver.stop() });
    await eventually(() => told[0], 'to be told');
    await new Promise(resolve => setTimeout(resolve, 50));
    t.deepEqual(told, ['keeping the saved copy of the cluster fails']);
    const good = new StateSaver({
      file,
      server,
      state: () => (whole ? new Map([['pods', items]]) : null),
      tell: (_level, _fields, text) => told.push(text),
      gapMs: 5,
    });
    const saved = async () => (await readSavedState(file, server).catch(() => null))?.state.get('pods');
    await new Promise(resolve => setTimeout(resolve, 50));
    t.is(await saved(), undefined, 'what is not whole is not saved');
    whole = true;
    await eventually(saved, 'the copy');
    items = [1, 2];
    good.changed();
    await eventually(async () => (await saved())?.length === 2 || undefined, 'the next copy');
    items = [1, 2, 3];
    good.changed();
    await good.stop();
    t.deepEqual(await saved(), [1, 2, 3]);
    t.is(told.length, 1);
    await scope.close();
  },
);
