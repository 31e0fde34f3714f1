// The policy guide tells the truth: its examples load without a problem, its excerpts stand in them, every row of its
// tables is what the evaluator says, and its table of checks is the linter's.
// SALLYPORT_WRITE_DOCS=1 writes the table of checks.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import test from 'ava';
import { importAddressData } from '../../../config/import/address-data.ts';
import { loadGatewayConfig, loadPolicies } from '../../../config/load.ts';
import { parseAddress } from '../../../config/policy/address.ts';
import { type CompiledPolicy, compilePolicies, workloadOf } from '../../../config/policy/compile.ts';
import type { Ground } from '../../../config/policy/decision.ts';
import { lintChecks, lintPolicies } from '../../../config/policy/lint.ts';
import { yamlOf } from '../import/imported.ts';
import { decideWhole } from './compile-yaml.ts';

const folder = join(import.meta.dirname, '../../../config/policies');
const guideFile = join(folder, 'GUIDE.md');

const tableOfChecks = [
  '| id | | finds | what to do |',
  '| --- | --- | --- | --- |',
  ...lintChecks.map(({ id, severity, what, remedy }) => `| ${id} | ${severity} | ${what} | ${remedy} |`),
].join('\n');
const checks = /(<!-- table: checks -->\n)[\s\S]*?(<!-- end -->)/;

if (process.env.SALLYPORT_WRITE_DOCS) {
  const text = readFileSync(guideFile, 'utf8');
  writeFileSync(
    guideFile,
    text.replace(checks, (_, start, end) => `${start}\n${tableOfChecks}\n\n${end}`),
  );
}

const guide = readFileSync(guideFile, 'utf8');

interface Section {
  title: string;
  files: string[];
  excerpts: string[];
  rows: Record<string, string>[];
}

/** The worked examples: what stands under each `###`. */
const sections = guide
  .slice(guide.indexOf('## Worked examples'), guide.indexOf('## In your own CI'))
  .split(/^### /m)
  .slice(1)
  .map(sectionOf);

function sectionOf(text: string): Section {
  const [title] = text.split('\n', 1);
  const files = [...new Set([...text.matchAll(/\]\((examples\/[\w-]+\.yaml)\)/g)].map(match => match[1]!))];
  const excerpts = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(match => match[1]!);
  return { title: title!, files, excerpts, rows: rowsOf(text) };
}

function rowsOf(text: string): Record<string, string>[] {
  const cells = (line: string) =>
    line
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim());
  const [head, , ...body] = text.split('\n').filter(line => line.startsWith('|'));
  const names = cells(head!);
  return body.map(line => Object.fromEntries(cells(line).map((cell, at) => [names[at]!, cell])));
}

async function compiledExample({ files }: Section) {
  const { documents, problems } = await loadPolicies(files.map(file => join(folder, file)));
  const compiled = compilePolicies({
    documents,
    guardCidrs: [],
    self: { addresses: [], ports: [] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 1,
  });
  return { documents, policy: compiled.policy, problems: [...problems, ...compiled.problems] };
}

const nowMs = Date.parse('2027-01-15T12:00:00Z');

/** What the evaluator says to the question of a row, in the words of its columns. */
function answerTo(row: Record<string, string>, policy: CompiledPolicy): Record<string, string> {
  const [address, user] = row.client!.split('@').reverse();
  const client = parseAddress(address!)!;
  const workload = workloadOf(policy, client);
  const decision = decideWhole(policy, row['asks for']!, row['resolves to'] || undefined, {
    from: client.text,
    ...(user !== undefined && { user }),
    ...(workload !== null && { workload }),
    nowMs: row.at === undefined ? nowMs : Date.parse(row.at),
  });
  return {
    verdict: decision.verdict,
    'decided by': groundText(decision),
    ...('would be denied by' in row && {
      'would be denied by': decision.wouldDeny ? groundText(decision.wouldDeny) : '',
    }),
  };
}

function groundText({ tier, policy, rule }: Ground): string {
  if (policy === null) return tier;
  return rule === null ? policy : `${policy} ${rule}`;
}

test('there are examples', t => {
  t.is(sections.length, 8);
  t.deepEqual(
    sections.flatMap(({ files }) => files).sort(),
    readdirSync(join(folder, 'examples'))
      .map(file => `examples/${file}`)
      .sort(),
  );
});

for (const section of sections) {
  test(`${section.title}: loads, and the linter has nothing to say`, async t => {
    const { documents, policy, problems } = await compiledExample(section);
    t.deepEqual(problems, []);
    const findings = lintPolicies({ documents, policy, nowMs, auditDays: 30 });
    t.deepEqual(
      findings.map(({ id, message }) => `${id} ${message}`),
      [],
    );
  });

  test(`${section.title}: the verdicts`, async t => {
    const { policy } = await compiledExample(section);
    t.true(section.rows.length >= 4);
    for (const row of section.rows) t.like(row, answerTo(row, policy), JSON.stringify(row));
  });

  test(`${section.title}: excerpts stand in the file`, t => {
    const texts = section.files.map(file => readFileSync(join(folder, file), 'utf8'));
    const isIn = (excerpt: string) =>
      ['', '  ', '    '].some(indent =>
        texts.some(text => text.includes(excerpt.replace(/^(?=.)/gm, indent))),
      );
    for (const excerpt of section.excerpts) t.true(isIn(excerpt), excerpt);
  });
}

test('the blocks of a country are those of the address data', t => {
  const require = createRequire(import.meta.url);
  const data = dirname(require.resolve('@ip-location-db/asn-country/package.json'));
  const files = [4, 6].map(family => {
    const file = join(data, `asn-country-ipv${family}.csv`);
    return { file, text: readFileSync(file, 'utf8') };
  });
  const imported = importAddressData(
    files,
    { name: 'antarctica', keys: ['AQ'] },
    { wider: false, namespace: null },
  );
  t.is(readFileSync(join(folder, 'examples/country-blocks.yaml'), 'utf8'), yamlOf(imported));
});

test('the gateway as it comes does not load the examples', async t => {
  const loaded = await loadGatewayConfig(join(folder, '../gateway.yaml'));
  if (!loaded.ok) return t.fail();
  t.deepEqual(
    loaded.sources.files.filter(file => file.includes('examples')),
    [],
  );
});

/** Cells row by row: how wide the columns are drawn does not matter. */
const cellsOf = (table: string) =>
  table
    .split('\n')
    .filter(line => /^\|(?! *-)/.test(line))
    .map(line => line.split('|').map(cell => cell.trim()));

test('the table of checks is that of the linter', t => {
  const [found = ''] = checks.exec(guide) ?? [];
  const remedy = 'run SALLYPORT_WRITE_DOCS=1 npx ava test/config/policy/guide.test.ts';
  t.deepEqual(cellsOf(found), cellsOf(tableOfChecks), remedy);
});
