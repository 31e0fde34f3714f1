// The shape of the house: which rooms may import which, no circles, a header comment on each file. It reads imports
// as text and runs nothing.

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';

const root = join(import.meta.dirname, '..');
const files = globSync('{gateway,config,k8s,benchmarks,test}/**/*.ts', { cwd: root }).sort();
const text = (file: string) => readFileSync(join(root, file), 'utf8');

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+'([^']+)'|import\('([^']+)'\)|(?:^|\n)import '([^']+)'/g;

interface Import {
  from: string;
  /** A file of this project, or the name of a package. */
  to: string;
}

const imports: Import[] = files.flatMap(from =>
  [...text(from).matchAll(importPattern)].map(match => {
    const specifier = (match[1] ?? match[2] ?? match[3])!;
    return { from, to: specifier.startsWith('.') ? normalize(join(dirname(from), specifier)) : specifier };
  }),
);

/** A forbidden direction and why; the reason is what a newcomer reads when the test fails. */
const rules: { name: string; reason: string; forbidden: (edge: Import) => boolean }[] = [
  {
    name: 'config imports only config, Node and packages',
    reason: 'what is asked must be checkable without a gateway (CLI, admission, tests)',
    forbidden: ({ from, to }) => from.startsWith('config/') && /^(gateway|k8s|benchmarks|test)\//.test(to),
  },
  {
    name: 'k8s and the gateway do not know each other',
    reason: 'main.ts joins them; a gateway without Kubernetes must not load its client',
    forbidden: ({ from, to }) =>
      (from.startsWith('k8s/') && to.startsWith('gateway/')) ||
      (from.startsWith('gateway/') && from !== 'gateway/main.ts' && to.startsWith('k8s/')),
  },
  {
    name: 'nobody imports main.ts',
    reason: 'it is the composition root: importing it would start things',
    forbidden: ({ to }) => to === 'gateway/main.ts',
  },
  {
    name: 'nothing that ships imports tests or benchmarks',
    reason: 'they are not in the image',
    forbidden: ({ from, to }) => /^(gateway|config|k8s)\//.test(from) && /^(test|benchmarks)\//.test(to),
  },
  {
    name: 'config does no I/O but in load.ts, and has no sockets',
    reason: 'values, not effects: the same input always gives the same snapshot',
    forbidden: ({ from, to }) =>
      from.startsWith('config/') &&
      from !== 'config/load.ts' &&
      /^node:(fs|fs\/promises|dns|dns\/promises|http|https|tls|child_process|worker_threads)$/.test(to),
  },
  {
    name: 'protocol parsers know bytes only',
    reason: 'no policy, no dialling, no sockets: the same machines serve every speed of the path',
    forbidden: ({ from, to }) =>
      /^gateway\/entry\/(connect-head|socks5|http-fields|proxy-request|http-replies|socks-replies)\.ts$/.test(
        from,
      ) &&
      (/^node:(net|http)$/.test(to)
        ? to === 'node:net' && from !== 'gateway/entry/socks-replies.ts'
        : /^gateway\/(exit|relay|record|admin)\//.test(to)),
  },
  {
    name: 'only os/ speaks to the C library',
    reason: 'one place to audit, one place that knows what is missing on another system',
    forbidden: ({ from, to }) => to === 'node:ffi' && !/^(test\/)?gateway\/os\//.test(from),
  },
  {
    name: 'only admission makes permits',
    reason: 'promise 1: no dial without a permit',
    forbidden: ({ from, to }) =>
      to === 'gateway/admission/permit.ts' &&
      from.startsWith('gateway/') &&
      from !== 'gateway/admission/admit.ts' &&
      /takePermitOffice/.test(text(from)),
  },
  {
    name: 'the command line does not load the running gateway',
    reason: 'check, explain and the like start fast and work where no gateway may run',
    forbidden: ({ from, to }) =>
      from.startsWith('gateway/cli/') && /^gateway\/(entry|exit|relay|session|admin|os)\//.test(to),
  },
];

for (const { name, reason, forbidden } of rules) {
  test(`${name}: ${reason}`, t => {
    t.deepEqual(imports.filter(forbidden), []);
  });
}

test('the import pattern sees imports at all', t => {
  t.true(imports.length > 100);
  t.true(imports.some(({ from, to }) => from === 'gateway/open-tunnel.ts' && to === 'gateway/exit/dial.ts'));
});

test('a file starts with what it does', t => {
  t.deepEqual(
    files.filter(file => !/^(#!.*\n)?\/\/ \S/.test(text(file))),
    [],
  );
});

/** Imports of values; a type alone makes no circle at run time. */
function valueEdgesOf(specifierOf: (match: RegExpExecArray) => string | undefined): Map<string, string[]> {
  return new Map(
    files.map(file => {
      const withoutTypes = text(file).replace(/(?:^|\n)\s*import type [^;]*?;/g, '\n');
      const targets = [...withoutTypes.matchAll(importPattern)]
        .map(specifierOf)
        .filter(specifier => specifier !== undefined)
        .map(specifier =>
          specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier,
        );
      return [file, targets];
    }),
  );
}

const valueEdges = valueEdgesOf(match => match[1] ?? match[2] ?? match[3]);
/** Without `import()`: what comes with a file whether it is needed or not. */
const edgesAtOnce = valueEdgesOf(match => match[1] ?? match[3]);

test('values of node:http come by node-http.ts: an import of it loads the WebSocket client at every start', t => {
  const byName = [...valueEdges].filter(([, targets]) => targets.includes('node:http')).map(([file]) => file);
  t.deepEqual(
    byName.filter(file => file.startsWith('gateway/')),
    [],
  );
});

/** The path by which loading `from` loads `to`, or null. */
function wayTo(to: string, from: string, seen = new Set<string>()): string[] | null {
  if (from === to) return [to];
  if (seen.has(from)) return null;
  seen.add(from);
  for (const next of edgesAtOnce.get(from) ?? []) {
    const way = wayTo(to, next, seen);
    if (way) return [from, ...way];
  }
  return null;
}

for (const start of ['config/snapshot.ts', 'gateway/open-tunnel.ts', 'gateway/entry/serve-connection.ts'])
  test(`${start} needs no schemas: each thread of the data path would pay 10 MB for them`, t => {
    t.is(wayTo('zod', start), null);
    t.is(wayTo('yaml', start), null);
  });

const notAtTheStart = [
  'undici',
  'undici/lib/dispatcher/client.js',
  'http-proxy',
  'prom-client',
  '@node-rs/bcrypt',
  'tldts',
  'node:tls',
  'k8s/cluster.ts',
];
for (const late of notAtTheStart)
  test(`${late} is loaded by whom needs it first: a start is half a second and 90 MB without it`, t => {
    for (const start of ['gateway/main.ts', 'gateway/cli/serve.ts', 'gateway/serve.ts'])
      t.is(wayTo(late, start), null);
    t.true(
      [...valueEdges.values()].some(targets => targets.includes(late)),
      'it is loaded by somebody',
    );
  });

function circleFrom(file: string, path: readonly string[], done: Set<string>): string[] | null {
  if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
  if (done.has(file)) return null;
  for (const next of valueEdges.get(file) ?? []) {
    const circle = circleFrom(next, [...path, file], done);
    if (circle) return circle;
  }
  done.add(file);
  return null;
}

test('no import goes in a circle', t => {
  const done = new Set<string>();
  t.deepEqual(files.map(file => circleFrom(file, [], done)).filter(Boolean), []);
});
