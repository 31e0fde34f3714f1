// Whatever a file holds, every problem has a place in it, and a message of one printable line.

import test from 'ava';
import fc from 'fast-check';
import { parseDocuments } from '../../config/documents.ts';
import { gatewayConfigSchema } from '../../config/gateway-config.ts';
import { type Kind, kindOf, unfoldLists } from '../../config/kinds.ts';
import type { Problem } from '../../config/policy/compile.ts';
import { policyKinds } from '../../config/policy/schema.ts';
import { formatProblem } from '../../config/problems.ts';
import { checkDocument } from '../../config/schema-problems.ts';
import { parseUsers } from '../../config/users-file.ts';

const kinds: readonly Kind[] = [
  ...policyKinds,
  { apiVersion: 'sallyport.dev/v1alpha1', kind: 'GatewayConfig', schema: gatewayConfigSchema },
];

async function problemsOf(text: string): Promise<Problem[]> {
  const { documents, problems } = await parseDocuments(text, 'file');
  for (const document of documents.flatMap(unfoldLists)) {
    const kind = kindOf(document, kinds);
    if ('message' in kind) problems.push(kind);
    else problems.push(...(checkDocument(kind.schema, document).problems ?? []));
  }
  return problems;
}

/** Lines as the YAML library counts them: a lone carriage return ends none. */
function faultIn(problem: Problem, text: string): string | null {
  const line = text.split('\n')[problem.line - 1];
  if (line === undefined) return `no line ${problem.line}`;
  if (problem.column < 1 || problem.column > line.length + 1)
    return `no column ${problem.column} in ${JSON.stringify(line)}`;
  return /[\p{C}\n]/u.test(formatProblem(problem))
    ? `unprintable: ${JSON.stringify(formatProblem(problem))}`
    : null;
}

const sound = `apiVersion: sallyport.dev/v1alpha1
kind: GatewayConfig
listeners:
- {name: proxy, address: 127.0.0.1, port: 3128, protocols: [http, socks5]}
limits: {idleTimeout: 10s, relayBufferBytes: 64Ki}
guard: {cidrs: &blocks [10.0.0.0/8, "2001:db8::/32"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: team-a}
spec:
  tier: Admin
  priority: 100
  subject: {clients: {cidrs: [10.1.0.0/16], users: [alice]}}
  rules:
  - name: partners
    action: Allow
    to: [{host: api.example.com}, {cidr: 203.0.113.0/24, except: [203.0.113.7/32]}]
    ports: [443, {port: 8000, endPort: 8100}]
`;

const piece = fc.constantFrom(
  ...[
    '\n',
    ' ',
    '  ',
    ': ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    '#',
    '&a ',
    '*a',
    '!t ',
    '|',
    '>',
    '%',
    '---\n',
    '\t',
    '\r',
  ],
  ...[
    'null',
    '~',
    '0',
    '-1',
    '70000',
    'x',
    'é',
    '\u2028',
    '\u0000',
    '\ud800',
    '__proto__',
    'kind',
    'port',
    'host: ',
    '<<: ',
  ],
);

/** The sound file after some slips of the hand. */
const slips = fc
  .array(fc.record({ at: fc.nat(sound.length), drop: fc.nat(12), put: piece }), {
    minLength: 1,
    maxLength: 4,
  })
  .map(edits =>
    edits.reduce((text, { at, drop, put }) => text.slice(0, at) + put + text.slice(at + drop), sound),
  );

test('the file that slips are made in is sound', async t => t.deepEqual(await problemsOf(sound), []));

test('after any slips, each problem has a place', async t => {
  await fc.assert(
    fc.asyncProperty(slips, async text => {
      for (const problem of await problemsOf(text)) t.is(faultIn(problem, text), null);
    }),
    { numRuns: 400 },
  );
  t.pass();
});

test('in any text, each problem has a place', async t => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: piece, maxLength: 30 }), async text => {
      for (const problem of await problemsOf(text)) t.is(faultIn(problem, text), null);
    }),
    { numRuns: 400 },
  );
  t.pass();
});

test('in any users file, each problem has a place', t => {
  const line = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.string({ unit: fc.constantFrom(...'a:$2y1\r #'), maxLength: 70 }),
  );
  fc.assert(
    fc.property(fc.array(line), lines => {
      const text = lines.join('\n');
      for (const problem of parseUsers(text, 'file').problems) t.is(faultIn(problem, text), null);
    }),
    { numRuns: 500 },
  );
  t.pass();
});
