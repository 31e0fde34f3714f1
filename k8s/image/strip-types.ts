// Makes JavaScript of every TypeScript file of the application, in place, with Node's own stripper: lines and columns
// stay. Run when the image is made, so that no start and no thread has to: a .ts file makes each of them load a compiler,
// even where nothing is left to strip.
//
//   node strip-types.ts FOLDER

import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';

/** Paths of the application's own files, in imports and in URLs of threads; as long as before. */
const renamed = (text: string) => text.replace(/(['"])(\.{1,2}\/[^'"\n]+)\.ts\1/g, '$1$2.js$1');

const folder = process.argv[2]!;
for (const name of globSync('{config,gateway,k8s}/**/*.ts', { cwd: folder })) {
  const file = join(folder, name);
  const text = readFileSync(file, 'utf8');
  rmSync(file);
  if (!name.endsWith('.d.ts'))
    writeFileSync(file.replace(/\.ts$/, '.js'), renamed(stripTypeScriptTypes(text)));
}
