// Writes what is generated from the schemas: the definitions in k8s/crds, and their reference k8s/API.md. Run it after
// a change of a schema; a test fails while the files differ.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { definitionYaml } from './definition.ts';
import { customKinds } from './kinds.ts';
import { referencePage } from './reference.ts';

/** Path from the root of the project to content. */
export function generatedFiles(): Map<string, string> {
  const definitions = customKinds.map(
    custom => [`k8s/crds/sallyport.dev_${custom.plural}.yaml`, definitionYaml(custom)] as const,
  );
  return new Map([...definitions, ['k8s/API.md', referencePage()]]);
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '../..');
  for (const [file, content] of generatedFiles()) writeFileSync(join(root, file), content);
}
