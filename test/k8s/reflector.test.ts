// One resource followed through every kind of trouble: whatever happens, the store ends up as the server has it.

import test, { type ExecutionContext } from 'ava';
import { connectApi } from '../../k8s/connect-api.ts';
import { type Change, Reflector, type Timing } from '../../k8s/reflector.ts';
import type { WatchedResource } from '../../k8s/resources.ts';
import { lifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';
import { HttpApiServer, status } from './http-api-server.ts';
import { kubeconfigFor } from './kubeconfig-file.ts';

const path = '/api/v1/pods';

interface Thing {
  readonly name: string;
  readonly value: number;
}

const row: WatchedResource<Thing> = {
  resource: 'pods',
  group: '',
  path,
  pageSize: 3,
  mayBeAbsent: false,
  mayBeForbidden: false,
  absence: null,
  project: raw => {
    const { metadata, value } = raw as { metadata: { name: string }; value: number };
    return value < 0 ? null : { name: metadata.name, value };
  },
};

const fast: Partial<Timing> = { shortestWait: 2, longestWait: 20, healthy: 100, absent: 20, vanished: 0 };

interface Told {
  level: string;
  fields: Readonly<Record<string, unknown>>;
  text: string;
}

class Setup {
  readonly server: HttpApiServer;
  readonly reflector: Reflector<Thing>;
  readonly told: Told[] = [];
  readonly changes: Change<Thing>[] = [];
  most = 100;
  onChange: (change: Change<Thing>) => void = () => undefined;

  constructor(
    server: HttpApiServer,
    api: ConstructorParameters<typeof Reflector>[0]['api'],
    options: Options,
  ) {
    this.server = server;
    this.reflector = new Reflector({
      api,
      row: { ...row, ...options.row },
      most: () => this.most,
      tell: (level, fields, text) => this.told.push({ level, fields, text }),
      onChange: change => {
        this.changes.push(change);
        this.onChange(change);
      },
      onState: () => undefined,
      timing: { ...fast, ...options.timing },
    });
  }

  put(name: string, value = 1): void {
    this.server.put(path, { metadata: { namespace: 'ns', name }, value });
  }

  remove(name: string): void {
    this.server.remove(path, `ns/${name}`);
  }

  get names(): string {
    return [...this.reflector.values.keys()].sort().join(' ').replaceAll('ns/', '');
  }

  get lists(): number {
    return this.server.requestsOf(path, false).filter(({ query }) => !query.has('continue')).length;
  }

  /** Waits until the store holds these names. */
  until(names: string): Promise<unknown> {
    return eventually(
      () => this.names === names || undefined,
      `the store to hold ${names}`,
      () => `${this.names}; ${JSON.stringify(this.told)}`,
    );
  }

  untilTold(pattern: RegExp): Promise<Told> {
    return eventually(
      () => this.told.find(({ fields, text }) => pattern.test(`${text} ${fields.reason}`)),
      `to be told ${pattern}`,
      () => JSON.stringify(this.told),
    );
  }

  watching(): Promise<unknown> {
    return eventually(() => this.server.watching === 1 || undefined, 'a watch');
  }
}

interface Options {
  row?: Partial<WatchedResource<Thing>>;
  timing?: Partial<Timing>;
  /** Whether the resource is not served at first. */
  isAbsent?: boolean;
}

const following = test.macro(
  async (t, options: Options, body: (t: ExecutionContext, setup: Setup) => Promise<void>) => {
    const scope = lifetime();
    try {
      const server = scope.own(await HttpApiServer.start());
      if (!options.isAbsent) server.offer(path);
      const kubeconfig = await kubeconfigFor(server.url, scope.own);
      const { api } = await connectApi({ kubeconfig });
      scope.own(api);
      const setup = new Setup(server, api, options);
      scope.own({ close: () => setup.reflector.stop() });
      await body(t, setup);
    } finally {
      await scope.close();
    }
  },
);

test('a list in pages, then events', following, {}, async (t, setup) => {
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) setup.put(name);
  setup.reflector.start();
  await setup.until('a b c d e f g');
  await setup.watching();
  t.is(setup.server.requestsOf(path, false).length, 3);
  t.is(setup.server.requests[0]!.query.get('resourceVersion'), null, 'the newest state is asked for');
  t.is(setup.changes.length, 1);
  setup.put('h');
  setup.put('a', 2);
  setup.remove('b');
  await setup.until('a c d e f g h');
  t.is(setup.reflector.values.get('ns/a')?.value, 2);
  t.deepEqual(
    setup.changes.map(({ kind }) => kind),
    ['replaced', 'upserted', 'upserted', 'removed'],
  );
  t.is(setup.reflector.latestVersion(), setup.server.version);
  setup.server.bookmark(path);
  const bookmarked = () => setup.reflector.latestVersion() === setup.server.version || undefined;
  await eventually(bookmarked, 'the bookmark to count');
  t.deepEqual(setup.reflector.counts(), { objects: 7, lists: 1, watchErrors: 0 });
  t.like(setup.reflector.state(), { synced: true, staleSeconds: 0, trouble: null });
  t.deepEqual(setup.told, []);
});

test('what its row does not keep is gone, also when it was kept before', following, {}, async (t, setup) => {
  setup.put('a', -1);
  setup.put('b');
  setup.reflector.start();
  await setup.until('b');
  setup.put('c');
  setup.put('b', -1);
  await setup.until('c');
  t.is(setup.changes.at(-1)?.kind, 'removed');
});

test('a watch that the server ends goes on where it was', following, {}, async (t, setup) => {
  setup.put('a');
  setup.reflector.start();
  await setup.watching();
  setup.put('b');
  await setup.until('a b');
  setup.server.endWatches();
  setup.put('c');
  await setup.until('a b c');
  t.is(setup.lists, 1);
  t.is(setup.reflector.counts().watchErrors, 0);
});

test('a connection that is cut goes on where it was', following, {}, async (t, setup) => {
  setup.put('a');
  setup.reflector.start();
  await setup.watching();
  for (const name of ['b', 'c', 'd']) {
    setup.server.cut();
    setup.put(name);
    await setup.until(`a ${name === 'b' ? 'b' : name === 'c' ? 'b c' : 'b c d'}`);
    await setup.watching();
  }
  t.is(setup.lists, 1);
  t.is(setup.reflector.counts().watchErrors, 3);
});

test('a version too old asks for a list, which finds what was deleted', following, {}, async (t, setup) => {
  for (const name of ['a', 'b']) setup.put(name);
  setup.reflector.start();
  await setup.watching();
  const { port } = setup.server;
  await setup.server.close();
  setup.remove('a');
  setup.put('c');
  setup.server.forgetHistory();
  await setup.server.listen(port);
  await setup.until('b c');
  t.is(setup.lists, 2);
  t.deepEqual(
    setup.changes.map(({ kind }) => kind),
    ['replaced', 'replaced'],
  );
});

test('410 as an HTTP status asks for a list, too', following, {}, async (t, setup) => {
  setup.put('a');
  let gone = true;
  setup.server.answer = ({ query }) => (query.has('watch') && gone ? status(410, 'Expired') : undefined);
  setup.reflector.start();
  await eventually(() => setup.lists >= 2 || undefined, 'a second list');
  gone = false;
  await setup.watching();
  t.is(setup.names, 'a');
});

test('410 in the middle of pages begins the list again', following, {}, async (t, setup) => {
  for (const name of ['a', 'b', 'c', 'd']) setup.put(name);
  let expired = true;
  setup.server.answer = ({ query }) => {
    if (!query.has('continue') || !expired) return undefined;
    expired = false;
    return status(410, 'Expired');
  };
  setup.reflector.start();
  await setup.until('a b c d');
  t.is(setup.changes.length, 1, 'half a list is none');
});

test('garbage on a watch loses no event', following, {}, async (t, setup) => {
  setup.reflector.start();
  await setup.watching();
  setup.put('a');
  setup.server.writeRaw(path, 'garbage\n');
  setup.put('b');
  await setup.until('a b');
  t.true(setup.reflector.counts().watchErrors >= 1);
});

test('an event without a version, or with an older one, asks for a list', following, {}, async (t, setup) => {
  setup.put('a');
  setup.reflector.start();
  await setup.watching();
  const event = { type: 'ADDED', object: { metadata: { namespace: 'ns', name: 'ghost' }, value: 1 } };
  setup.server.writeRaw(path, `${JSON.stringify(event)}\n`);
  await eventually(() => setup.lists === 2 || undefined, 'a second list');
  await setup.watching();
  t.is(setup.names, 'a');
  setup.server.restoreVersion(500);
  setup.put('b');
  await setup.until('a b');
  t.is(setup.lists, 3);
  t.is(setup.reflector.latestVersion(), '501');
});

test('a listener that throws is told, and what it missed comes again', following, {}, async (t, setup) => {
  setup.put('a');
  let throws = false;
  setup.onChange = () => {
    if (throws) throw new Error('of the listener');
  };
  setup.reflector.start();
  await setup.watching();
  throws = true;
  setup.put('b');
  const told = await setup.untilTold(/of the listener/);
  t.is(told.level, 'error');
  t.regex(setup.reflector.state().trouble ?? '', /of the listener/);
  throws = false;
  await eventually(() => setup.reflector.state().trouble === null || undefined, 'the trouble to end');
  t.is(setup.changes.at(-1)?.kind, 'replaced');
  t.is(setup.names, 'a b');
});

test(
  'silence on a watch is a dead connection',
  following,
  { timing: { inactivity: 60 } },
  async (t, setup) => {
    setup.put('a');
    setup.reflector.start();
    await setup.watching();
    await eventually(
      () => setup.reflector.counts().watchErrors >= 2 || undefined,
      'two watches to be given up',
    );
    setup.put('b');
    await setup.until('a b');
    t.is(setup.lists, 1);
  },
);

test(
  'a forbidden resource: says what to grant, stays as it was, and comes back',
  following,
  {},
  async (t, setup) => {
    setup.put('a');
    const forbid = () => {
      setup.server.answer = () => status(403, 'Forbidden', 'pods is forbidden: User "x" cannot list');
    };
    forbid();
    setup.reflector.start();
    const told = await setup.untilTold(/cannot watch/);
    t.regex(told.text, /grant the verbs list and watch for pods of API group ""/);
    t.like(setup.reflector.state(), { synced: false, refused: true });
    t.regex(setup.reflector.state().trouble ?? '', /^pods: GET \/api\/v1\/pods: 403 Forbidden .*grant/);
    setup.server.answer = () => undefined;
    await setup.until('a');
    await setup.untilTold(/can be watched again/);
    forbid();
    setup.server.cut();
    await eventually(() => setup.reflector.state().refused || undefined, 'the refusal');
    t.is(setup.names, 'a');
    t.true(setup.reflector.state().synced);
  },
);

test(
  'an optional resource that may not be read is empty, and tells',
  following,
  {
    row: { mayBeForbidden: true },
  },
  async (t, setup) => {
    setup.put('a');
    setup.server.answer = () => status(403, 'Forbidden');
    setup.reflector.start();
    await eventually(() => setup.reflector.state().synced || undefined, 'to be synced');
    t.is(setup.names, '');
    t.regex(setup.reflector.state().trouble ?? '', /grant/);
    setup.server.answer = () => undefined;
    await setup.until('a');
  },
);

const optional = { mayBeAbsent: true, absence: 'install it' };

test(
  'what is not served is empty, and found when it comes',
  following,
  { row: optional, isAbsent: true },
  async (t, setup) => {
    setup.reflector.start();
    await eventually(() => setup.reflector.state().synced || undefined, 'to be synced');
    const told = await setup.untilTold(/install it/);
    t.is(told.level, 'warn');
    t.is(setup.reflector.state().staleSeconds, 0);
    await eventually(() => setup.server.requests.length > 2 || undefined, 'another look');
    t.is(setup.told.length, 1, 'it is said once');
    setup.server.offer(path);
    setup.put('a');
    await setup.until('a');
    await eventually(() => setup.reflector.state().trouble === null || undefined, 'the trouble to end');
  },
);

test('what is needed may not be missing', following, { isAbsent: true }, async (t, setup) => {
  setup.reflector.start();
  await setup.untilTold(/404/);
  t.false(setup.reflector.state().synced);
});

test(
  'objects stay while their resource is only just not served',
  following,
  {
    row: optional,
    timing: { vanished: 40_000 },
  },
  async (t, setup) => {
    setup.put('a');
    setup.reflector.start();
    await setup.watching();
    setup.server.answer = () => status(404, 'NotFound');
    setup.server.cut();
    await eventually(() => setup.lists >= 3 || undefined, 'lists that fail');
    t.is(setup.names, 'a');
    setup.server.answer = () => undefined;
    await setup.watching();
    t.is(setup.names, 'a');
  },
);

test(
  'objects go once their resource is not served any more',
  following,
  { row: optional },
  async (t, setup) => {
    setup.put('a');
    setup.reflector.start();
    await setup.watching();
    setup.server.withdraw(path);
    await setup.until('');
    t.is(setup.changes.at(-1)?.kind, 'replaced');
  },
);

test('past the most objects what was known stays', following, {}, async (t, setup) => {
  setup.most = 4;
  for (const name of ['a', 'b', 'c', 'd']) setup.put(name);
  setup.reflector.start();
  await setup.watching();
  setup.put('e');
  const told = await setup.untilTold(/more than 4 objects/);
  t.is(told.level, 'error');
  t.is(setup.names, 'a b c d');
  t.regex(setup.reflector.state().trouble ?? '', /limits\.clusterObjects/);
  await eventually(() => setup.lists >= 2 || undefined, 'a list that fails');
  t.is(setup.names, 'a b c d');
  setup.remove('a');
  await setup.until('b c d e');
});

test('a page that is too large is asked for in smaller ones', following, {}, async (t, setup) => {
  for (const name of ['a', 'b', 'c', 'd']) setup.put(name);
  setup.server.answer = ({ query }) =>
    Number(query.get('limit')) > 1 ? { text: ' '.repeat(65 * 1024 ** 2) } : undefined;
  setup.reflector.start();
  await setup.until('a b c d');
  t.is(setup.server.requestsOf(path, false).at(-1)?.query.get('limit'), '1');
});

test('a server that is away: its silence is counted, and told once', following, {}, async (t, setup) => {
  setup.put('a');
  setup.reflector.start();
  await setup.watching();
  const { port } = setup.server;
  await setup.server.close();
  await setup.untilTold(/cannot watch/);
  await eventually(() => setup.reflector.state().staleSeconds > 0 || undefined, 'staleness');
  const errors = setup.reflector.counts().watchErrors;
  await eventually(() => setup.reflector.counts().watchErrors > errors + 3 || undefined, 'more tries');
  t.is(setup.told.length, 1);
  t.is(setup.names, 'a');
  setup.put('b');
  await setup.server.listen(port);
  await setup.until('a b');
  await setup.untilTold(/can be watched again/);
  t.is(setup.reflector.state().staleSeconds, 0);
});

test(
  'a watch that ends at once again and again is not begun without a wait',
  following,
  {
    timing: { shortestWait: 20, longestWait: 60_000, healthy: 60_000 },
  },
  async (t, setup) => {
    setup.server.answer = ({ query }) => (query.has('watch') ? { text: '' } : undefined);
    setup.reflector.start();
    await eventually(() => setup.server.requests.length >= 4 || undefined, 'some watches');
    const before = setup.server.requests.length;
    await new Promise(resolve => setTimeout(resolve, 60));
    t.true(setup.server.requests.length - before <= 2);
  },
);

test('the saved copy counts until the first list', following, {}, async (t, setup) => {
  setup.put('b');
  setup.server.answer = () => status(500, 'InternalError');
  setup.reflector.seed([['ns/a', { name: 'a', value: 1 }]], 60_000);
  t.like(setup.reflector.state(), { synced: true, fromSavedCopy: true });
  setup.reflector.start();
  await setup.untilTold(/cannot watch/);
  t.is(setup.names, 'a');
  t.true(setup.reflector.silentMs() >= 60_000);
  t.true(setup.reflector.state().staleSeconds >= 60);
  setup.server.answer = () => undefined;
  await setup.until('b');
  t.false(setup.reflector.state().fromSavedCopy);
});

test('it stops in the middle of anything', following, {}, async (t, setup) => {
  setup.server.answer = () => 'hang';
  setup.reflector.start();
  await eventually(() => setup.server.requests.length > 0 || undefined, 'a list under way');
  setup.server.cut();
  await setup.reflector.stop();
  const { length } = setup.server.requests;
  await new Promise(resolve => setTimeout(resolve, 50));
  t.is(setup.server.requests.length, length);
  t.deepEqual(setup.changes, []);
});

test('random changes through random trouble end in the same store', following, {}, async (t, setup) => {
  setup.reflector.start();
  const names = 'abcdefghij'.split('');
  const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)]!;
  const living = new Set<string>();
  const change = () => {
    const name = pick(names);
    if (living.has(name) && Math.random() < 0.5) {
      setup.remove(name);
      living.delete(name);
    } else {
      setup.put(name, Math.floor(Math.random() * 1000));
      living.add(name);
    }
  };
  const troubles = [
    () => setup.server.cut(),
    () => setup.server.endWatches(),
    () => setup.server.forgetHistory(),
    () => setup.server.writeRaw(path, 'garbage\n'),
    () => setup.server.writeRaw(path, '{"type":"ADDED"'),
  ];
  for (let round = 0; round < 300; round++) {
    change();
    if (Math.random() < 0.15) pick(troubles)();
    if (Math.random() < 0.3) await new Promise(resolve => setTimeout(resolve, Math.random() * 6));
  }
  await setup.until([...living].sort().join(' '));
  const replayed = new Map<string, Thing>();
  for (const made of setup.changes) {
    if (made.kind === 'replaced') replayed.clear();
    if (made.kind === 'replaced') for (const each of made.all.values()) replayed.set(each.name, each);
    else if (made.kind === 'upserted') replayed.set(made.value.name, made.value);
    else replayed.delete(made.value.name);
  }
  t.deepEqual([...replayed.keys()].sort(), [...living].sort(), 'what was told adds up to the store');
});
