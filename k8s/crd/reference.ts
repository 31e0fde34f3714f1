// The reference of the kinds, API.md, drawn from the same schemas as the definitions. Pure; write.ts writes it.

import { objectSchema } from './definition.ts';
import { dropped, gatewayOnly } from './gateway-only.ts';
import { type CustomKind, customKinds } from './kinds.ts';
import type { Schema } from './openapi.ts';
import { policyStatus, poolStatus, setStatus } from './status.ts';

const introduction = `# The kinds of sallyport.dev/v1alpha1

Drawn from the schemas by \`k8s/crd/write.ts\`; \`kubectl explain egresspolicy.spec.rules\` says the same. The
definitions are in [crds](crds), for Kubernetes 1.31 or newer. What policies mean, and in which order they are asked, is
in [the policy guide](../config/policies/GUIDE.md).

| kind | short | scope | what it is |
| --- | --- | --- | --- |
${customKinds.map(({ kind, shortName, scope, description }) => row(code(kind), code(shortName), scope, description)).join('\n')}

\`kubectl get sallyport\` (or \`egress\`) lists all of them. A file holds the same YAML as a cluster, with these
differences:

- **Unknown fields.** A file with one is refused. The API server refuses it where the client asks for strict validation,
  as \`kubectl\` does, and in server-side apply; from any other client it drops the field and answers with a warning.
  What it dropped is not in force: a misspelt \`except\` takes nothing out of its block. Let programs that write policies
  ask for \`fieldValidation=Strict\`.
- **What the API server drops.** ${Object.values(dropped).join(' ')}
- **Bounds.** An object has at most as many entries and characters as the tables say, and 1.5 MiB altogether. A file may
  hold more.
- **Defaults** are written into the object by the API server. Lists are never defaulted; absent and empty mean the same
  where an empty list is allowed.
- **Server-side apply** merges rules by their name, and every other list and each selector as a whole. Which of two
  appliers' rules come first is not theirs to say; in a \`ClusterEgressPolicy\`, where the first match decides, give each a
  policy of its own.
`;

function row(...cells: string[]): string {
  return `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}

/** The type as `kubectl explain` spells types, where there is one. */
function typeText(schema: Schema): string {
  const { type, items, additionalProperties, properties } = schema;
  if (type === 'array')
    return items!.type === undefined ? `list of ${typeText(items!)}` : `[]${typeText(items!)}`;
  if (additionalProperties !== undefined) return `map[string]${typeText(additionalProperties)}`;
  if (type === undefined) {
    const short = schema.multipleOf === undefined ? 'string' : 'integer';
    return `${short} or {${Object.keys(properties ?? {}).join(', ')}}`;
  }
  if (type === 'object') return 'Object';
  return schema.format === 'date-time' ? 'time' : type;
}

function boundTexts(schema: Schema): string[] {
  const { minimum, maximum, maxItems, maxProperties, maxLength, items, type } = schema;
  const own = [
    maximum === undefined ? '' : `${minimum ?? 0} to ${maximum}`,
    maxItems === undefined ? '' : `at most ${maxItems}`,
    maxProperties === undefined || type === undefined ? '' : `at most ${maxProperties}`,
    maxLength === undefined ? '' : `${maxLength} characters`,
  ];
  const ofItems = items?.type === 'string' && items.maxLength !== undefined;
  return [...own.filter(text => text !== ''), ...(ofItems ? [`${items.maxLength} characters each`] : [])];
}

function formText(schema: Schema, isRequired: boolean): string {
  const values = schema.enum === undefined ? code(typeText(schema)) : schema.enum.map(code).join(', ');
  const filled = schema.default === undefined ? [] : [`default ${code(String(schema.default))}`];
  return [values, ...(isRequired ? ['required'] : filled), ...boundTexts(schema)].join('; ');
}

/** Parts that have a table of their own, or need none. */
const parts = new Set(['rules', 'podSelector', 'namespaceSelector', 'conditions']);

function rowsOf(schema: Schema, path: string): string[] {
  const { properties = {}, required = [] } = schema.items ?? schema;
  return Object.entries(properties).flatMap(([name, property]) => {
    const here = path === '' ? name : `${path}.${name}`;
    const own = row(code(here), formText(property, required.includes(name)), property.description ?? '');
    const isMapping = (property.items ?? property).type === 'object' && !parts.has(name);
    return isMapping ? [own, ...rowsOf(property, property.items === undefined ? here : `${here}[]`)] : [own];
  });
}

function table(rows: readonly string[]): string {
  return ['| field | form | what it says |', '| --- | --- | --- |', ...rows].join('\n');
}

function specOf(kind: string): Schema {
  const custom = customKinds.find(each => each.kind === kind) as CustomKind;
  return objectSchema(custom).properties!.spec!;
}

/** Rows of both kinds; where they differ, one of each, with the name of the kind. */
function rowsOfBoth(one: string, other: string, rowsOfKind: (kind: string) => string[]): string[] {
  const second = rowsOfKind(other);
  return rowsOfKind(one).flatMap(text => {
    if (second.includes(text)) return [text];
    const field = /^\| `[^`]+`/.exec(text)![0];
    const named = (line: string, kind: string) => line.replace(field, `${field} of ${kind}`);
    const twin = second.find(line => line.startsWith(`${field} `));
    return [named(text, one), ...(twin === undefined ? [] : [named(twin, other)])];
  });
}

const rulesOf = (kind: string) => rowsOf(specOf(kind).properties!.rules!, '');

const selector = specOf('EgressPolicy').properties!.subject!.properties!.podSelector!;

const statuses: readonly (readonly [string, Schema])[] = [
  ['Policies', policyStatus],
  ['Destination sets', setStatus],
  ['Pools', poolStatus],
];

const selectors = `## A label selector

As everywhere in Kubernetes: all of it must hold, and an empty one selects everything.

${table(rowsOf(selector, ''))}
`;

const onlyTheGateway = `## What only the gateway can say

The API server accepts these, and the gateway then refuses the object in its status:

${Object.values(gatewayOnly)
  .map(text => `- ${text}.`)
  .join('\n')}

And whatever several objects say together, such as a rule that names a set which is not there.
`;

export function referencePage(): string {
  const kinds = customKinds.map(({ kind }) => `## ${kind}\n\n${table(rowsOf(specOf(kind), 'spec'))}\n`);
  const rules = `## A rule\n\n${table(rowsOfBoth('ClusterEgressPolicy', 'EgressPolicy', rulesOf))}\n`;
  const status = statuses.map(([name, schema]) => `${name}:\n\n${table(rowsOf(schema, 'status'))}\n`);
  return [introduction, ...kinds, rules, selectors, '## Status\n', ...status, onlyTheGateway].join('\n');
}
