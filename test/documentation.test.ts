// Documentation that tells the truth: its tables are those of the code, its links lead somewhere, its commands exist.
// `npm run docs` writes the tables; this test only compares.

import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { recordFields } from '../gateway/record/record.ts';
import { configurationKeys, referenceTables } from './support/reference-tables.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const reference = 'config/REFERENCE.md';

const between = (name: string) => new RegExp(`(<!-- table: ${name} -->\n)[\\s\\S]*?(\n<!-- end -->)`);

if (process.env.SALLYPORT_WRITE_DOCS) {
  const written = Object.entries(referenceTables).reduce(
    (text, [name, table]) => text.replace(between(name), (_, start, end) => `${start}\n${table}\n${end}`),
    read(reference),
  );
  writeFileSync(join(root, reference), written);
}

for (const [name, table] of Object.entries(referenceTables)) {
  test(`the table of ${name} is that of the code`, t => {
    const [found] = between(name).exec(read(reference)) ?? [];
    t.true(found?.includes(`\n${table}\n`), 'run `npm run docs`');
  });
}

test('every key of the configuration is described', t => {
  const text = read(reference);
  t.deepEqual(
    configurationKeys.filter(key => !text.includes(`\`${key}`)),
    [],
  );
});

test('no field of the record is listed twice', t => {
  const names = recordFields.map(([name]) => name);
  t.is(new Set(names).size, names.length);
});

const pages = globSync('{*.md,{gateway,config,k8s,benchmarks,test}/**/*.md}', { cwd: root });

for (const page of pages) {
  test(`${page}: links lead to files that are there`, t => {
    const links = [...read(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map(match => match[1]!);
    t.deepEqual(
      links.filter(link => !existsSync(join(root, dirname(page), link))),
      [],
    );
  });

  test(`${page}: npm scripts that it names exist`, t => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...read(page).matchAll(/npm run ([\w:]+)/g)].map(match => match[1]!);
    t.deepEqual(
      named.filter(name => !(name in scripts)),
      [],
    );
  });

  test(`${page}: source files and functions that it names exist`, t => {
    const files = [
      ...read(page).matchAll(/`((?:gateway|config|test|benchmarks|k8s)\/[\w./-]+\.(?:ts|yaml|md))`/g),
    ];
    t.deepEqual(
      files.map(match => match[1]!).filter(file => !existsSync(join(root, file))),
      [],
    );
  });
}
