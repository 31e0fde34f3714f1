// The definitions of custom resources: that the files are what the schemas make, that they are structural and bounded,
// and that what they add to the schemas refuses nothing that those accept. The API server's own word on them is in
// test/cluster/crds.test.ts.

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { parse } from 'yaml';
import { z } from 'zod';
import { parsePathPattern } from '../../config/policy/http-condition.ts';
import { policyKinds } from '../../config/policy/schema.ts';
import { cidrSchema, hostSchema, timeSchema } from '../../config/policy/schema-parts.ts';
import { bounds } from '../../k8s/crd/bounds.ts';
import { definitionOf, objectSchema } from '../../k8s/crd/definition.ts';
import { byEnding } from '../../k8s/crd/endings.ts';
import { dropped, gatewayOnly } from '../../k8s/crd/gateway-only.ts';
import { customKinds } from '../../k8s/crd/kinds.ts';
import type { Schema } from '../../k8s/crd/openapi.ts';
import { structuralSchema } from '../../k8s/crd/structural.ts';
import { validations } from '../../k8s/crd/validations.ts';
import { generatedFiles } from '../../k8s/crd/write.ts';
import { examples, right, wrong } from './crd-documents.ts';

const root = join(import.meta.dirname, '../..');

test('the files are what the schemas make, and no others are there', t => {
  const generated = generatedFiles();
  for (const [file, content] of generated)
    t.is(readFileSync(join(root, file), 'utf8'), content, `run: node k8s/crd/write.ts (${file})`);
  const definitions = [...generated.keys()].filter(file => file.endsWith('.yaml'));
  t.deepEqual(globSync('k8s/crds/*', { cwd: root }).sort(), definitions.sort());
});

test('the YAML reads back to the definition, for readers of either version of YAML', t => {
  for (const custom of customKinds) {
    const yaml = generatedFiles().get(`k8s/crds/sallyport.dev_${custom.plural}.yaml`)!;
    const definition = JSON.parse(JSON.stringify(definitionOf(custom)));
    t.deepEqual(parse(yaml), definition);
    t.deepEqual(parse(yaml, { version: '1.1' }), definition);
  }
});

interface Node {
  path: string;
  schema: Schema;
}

function nodesOf(schema: Schema, path: string): Node[] {
  const properties = Object.entries(schema.properties ?? {}).map(
    ([name, part]) => [`${path}.${name}`, part] as const,
  );
  const inner = [
    ...properties,
    ...(schema.items ? [[`${path}[]`, schema.items] as const] : []),
    ...(schema.additionalProperties ? [[`${path}{}`, schema.additionalProperties] as const] : []),
  ];
  return [{ path, schema }, ...inner.flatMap(([here, part]) => nodesOf(part, here))];
}

const nodes = customKinds.flatMap(custom => nodesOf(objectSchema(custom), custom.kind));

test('structural: a type at every place, unless it is open to any value', t => {
  t.true(nodes.length > 150);
  const open = nodes.filter(({ schema }) => schema.type === undefined);
  t.deepEqual([...new Set(open.map(({ path }) => path.replace(/^\w+\./, '')))].sort(), [
    'spec.rules[].ports[]',
    'spec.rules[].to[].destinationSet',
  ]);
  t.true(open.every(({ schema }) => schema['x-kubernetes-preserve-unknown-fields'] === true));
});

test('structural: no keyword that the API server refuses', t => {
  const text = JSON.stringify(customKinds.map(objectSchema));
  t.notRegex(
    text,
    /"(\$ref|\$schema|anyOf|allOf|not|const|nullable|patternProperties|propertyNames|id|title)":/,
  );
  t.notRegex(text, /"additionalProperties":(true|false)/);
});

test('every list, map and text that CEL could go through has an upper bound', t => {
  const unbounded = nodes.filter(({ schema }) => {
    if (schema.type === 'array') return schema.maxItems === undefined;
    if (schema.additionalProperties !== undefined) return schema.maxProperties === undefined;
    return schema.type === 'string' && !schema.enum && !schema.format && schema.maxLength === undefined;
  });
  t.deepEqual(
    unbounded.map(({ path }) => path).filter(path => !/^\w+\.(apiVersion|kind)$/.test(path)),
    [],
  );
});

test('every field is described, in sentences', t => {
  const fields = nodes.filter(
    ({ path }) => /\.[A-Za-z]+$/.test(path) && !/^\w+\.(apiVersion|kind|metadata)$/.test(path),
  );
  t.true(fields.length > 100);
  t.deepEqual(
    fields
      .filter(({ schema }) => !/^[A-Z{].{10,}\.$/s.test(schema.description ?? ''))
      .map(({ path }) => path),
    [],
  );
});

test('every entry of the tables is about a part that is there', t => {
  for (const table of [bounds, validations]) {
    const used = new Set(nodes.map(({ path }) => byEnding<object>(table, path)));
    t.deepEqual(
      Object.entries(table)
        .filter(([, entry]) => !used.has(entry))
        .map(([key]) => key),
      [],
    );
  }
});

test('the longest ending counts, and only whole steps', t => {
  const table = { name: 1, 'rules[].name': 2, 'EgressPolicy.spec': 3 };
  t.is(byEnding(table, 'A.spec.rules[].name'), 2);
  t.is(byEnding(table, 'A.metadata.name'), 1);
  t.is(byEnding(table, 'EgressPolicy.spec'), 3);
  t.is(byEnding(table, 'ClusterEgressPolicy.spec'), undefined);
  t.is(byEnding(table, 'A.spec.toString'), undefined);
});

test('every kind that files hold is stored, but Workload; and no other', t => {
  const ofFiles = policyKinds.filter(({ apiVersion }) => apiVersion === 'sallyport.dev/v1alpha1');
  t.deepEqual(
    ofFiles
      .map(({ kind }) => kind)
      .filter(kind => kind !== 'Workload')
      .sort(),
    customKinds.map(({ kind }) => kind).sort(),
  );
});

/** `kubectl api-resources` of Kubernetes 1.36, without those of custom resources. */
const takenNames = new Set(
  'cm cs csr cj crd crds deploy ds ep ev hpa ing limits netpol no ns pc pdb po pv pvc quota rc rs sa sc sts svc vac'.split(
    ' ',
  ),
);

test('names: short ones are not taken, and CustomResourceDefinitions are called as Kubernetes wants it', t => {
  for (const custom of customKinds) {
    const { metadata, spec } = definitionOf(custom);
    t.false(takenNames.has(custom.shortName), custom.shortName);
    t.is(metadata.name, `${spec.names.plural}.${spec.group}`);
    t.is(spec.names.singular, custom.kind.toLowerCase());
  }
  t.is(new Set(customKinds.map(({ shortName }) => shortName)).size, customKinds.length);
});

const made = (schema: z.ZodType) =>
  structuralSchema(z.strictObject({ field: schema }), 'Test.spec').properties!.field;

test('a field: type, limits, default and description are those of the schema', t => {
  t.deepEqual(made(z.int().min(0).max(9).default(3).describe('A count.')), {
    description: 'A count.',
    type: 'integer',
    format: 'int32',
    default: 3,
    minimum: 0,
    maximum: 9,
  });
  t.deepEqual(made(z.enum(['A', 'B']).optional().describe('A or B.')), {
    description: 'A or B.',
    type: 'string',
    enum: ['A', 'B'],
  });
  t.deepEqual(made(z.array(z.string().max(3)).max(2).default([]).describe('Texts.')), {
    description: 'Texts.',
    type: 'array',
    maxItems: 2,
    'x-kubernetes-list-type': 'atomic',
    items: { type: 'string', maxLength: 3 },
  });
});

test('a number or a mapping: untyped, with the keywords of both, closed by the number of keys', t => {
  const port = z.int().min(1).max(9);
  const range = z.strictObject({ from: port.describe('From.'), to: port.describe('To.') });
  t.like(made(z.union([port, range]).describe('Ports.')), {
    'x-kubernetes-preserve-unknown-fields': true,
    minimum: 1,
    maximum: 9,
    multipleOf: 1,
    required: ['from', 'to'],
    maxProperties: 2,
    type: undefined,
  });
});

test('what no structural schema says, or nobody described or bounded, is an error with its place', t => {
  const text = z.string().max(9);
  const cases: [z.ZodType, RegExp][] = [
    [text, /^Test\.spec\.field has no description$/],
    [z.string().describe('Text.'), /^Test\.spec\.field has no upper bound$/],
    [z.array(text).describe('Texts.'), /^Test\.spec\.field has no upper bound$/],
    [
      z.array(text).max(2).default(['a']).describe('Texts.'),
      /^Test\.spec\.field: a default that is not empty$/,
    ],
    [z.record(z.string(), text).describe('Texts.'), /^Test\.spec\.field has no upper bound$/],
    [z.unknown().describe('Anything.'), /^Test\.spec\.field: no structural schema says this$/],
    [z.union([z.boolean(), text]).describe('A union.'), /^Test\.spec\.field: no structural schema says this/],
    [
      z.union([text, z.int().max(9)]).describe('A union.'),
      /^Test\.spec\.field: no structural schema says this union$/,
    ],
    [
      z
        .union([text, z.strictObject({ a: text.optional().describe('May be left out.') })])
        .describe('A union.'),
      /^Test\.spec\.field: no structural schema says this union$/,
    ],
  ];
  for (const [schema, message] of cases) t.throws(() => made(schema), { message });
});

/** A pattern of RE2 as JavaScript has it. */
const patternOf = (key: string) =>
  new RegExp(bounds[key]!.pattern!.replaceAll('[:^ascii:]', '\\u{80}-\\u{10ffff}'), 'u');

const hostParts = fc.constantFrom(
  '*',
  '*.',
  '.',
  '。',
  'a',
  'A',
  '-',
  '_',
  '0x7f',
  '1',
  'ü',
  'xn--',
  '例え',
  '😀',
  '­',
  ':',
  '/',
  '%',
  '@',
  '[',
  ' ',
  'com',
);
const someHost = fc.array(hostParts, { minLength: 1, maxLength: 6 }).map(parts => parts.join(''));

test('patterns refuse nothing that the schemas accept', t => {
  const host = patternOf('hosts[]');
  const path = patternOf('paths[]');
  const except = patternOf('except[]');
  const time = patternOf('expiresAt');
  const counts = { host: 0, path: 0, except: 0, time: 0 };
  fc.assert(
    fc.property(fc.oneof(someHost, fc.string({ unit: 'binary', maxLength: 8 })), text => {
      const fits = hostSchema.safeParse(text).success;
      if (fits) counts.host++;
      return !fits || host.test(text);
    }),
    { numRuns: 5_000 },
  );
  const pathParts = fc.constantFrom(
    '/',
    '/*',
    '*',
    'a',
    '.',
    '%20',
    '%2e',
    ';',
    '?',
    '#',
    ' ',
    '[',
    '~',
    '!',
  );
  fc.assert(
    fc.property(fc.array(pathParts, { maxLength: 5 }), parts => {
      const text = `/${parts.join('')}`;
      const fits = parsePathPattern(text) !== null;
      if (fits) counts.path++;
      return !fits || path.test(text);
    }),
    { numRuns: 5_000 },
  );
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 130 }), (address, prefix) => {
      const text = `${address}/${prefix}`;
      const fits = cidrSchema.safeParse(text).success;
      if (fits) counts.except++;
      return !fits || except.test(text);
    }),
    { numRuns: 20_000 },
  );
  const stamp = fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') })
    .map(date => date.toISOString());
  const zone = fc.constantFrom('Z', 'z', '+00:00', '-23:59', '+24:00', '', '+1:00');
  fc.assert(
    fc.property(stamp, zone, fc.boolean(), (text, offset, isLower) => {
      const written = text.replace('Z', offset).replace('T', isLower ? 't' : 'T');
      const fits = timeSchema.safeParse(written).success;
      if (fits) counts.time++;
      return fits === time.test(written);
    }),
  );
  for (const [name, count] of Object.entries(counts)) t.true(count > 10, `${name}: ${count}`);
});

const schemaOf = (kind: string) => policyKinds.find(each => each.kind === kind)!.schema;

test('the documents that the API server is asked about: what the schemas say of them', t => {
  t.true(examples.length >= 10);
  for (const raw of [...examples, ...right]) {
    const { error } = schemaOf(raw.kind).safeParse(raw);
    t.is(error, undefined, JSON.stringify(raw));
  }
  for (const [raw] of wrong) t.false(schemaOf(raw.kind).safeParse(raw).success, JSON.stringify(raw));
});

test('whatever only the gateway can say has an example', t => {
  const named = new Set(wrong.map(([, why]) => why).filter(why => why !== undefined));
  t.deepEqual([...named].sort(), [...Object.keys(gatewayOnly), ...Object.keys(dropped)].sort());
});
