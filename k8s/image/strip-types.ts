// Strips the types of every TypeScript file of the application, in place, with Node's own stripper: lines and columns
// stay. Run when the image is made, so that no start has to do it.
//
//   node strip-types.ts FOLDER

import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';

const folder = process.argv[2]!;
for (const name of globSync('{config,gateway,k8s}/**/*.ts', { cwd: folder })) {
  const file = join(folder, name);
  if (name.endsWith('.d.ts')) rmSync(file);
  else writeFileSync(file, stripTypeScriptTypes(readFileSync(file, 'utf8')));
}
