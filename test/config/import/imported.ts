// What an importer makes of a text, compiled as the gateway would: the objects go through YAML, schemas and compiler.

import { stringify } from 'yaml';
import { parseDocuments, type YamlDocument } from '../../../config/documents.ts';
import type { Imported, ImportOptions } from '../../../config/import/notes.ts';
import { unfoldLists } from '../../../config/kinds.ts';
import type { CompiledPolicy } from '../../../config/policy/compile.ts';
import { loadYaml } from '../policy/loaded-yaml.ts';

export const closed: ImportOptions = { wider: false, namespace: null };
export const wider: ImportOptions = { wider: true, namespace: null };

export async function documentsOf(text: string): Promise<YamlDocument[]> {
  const { documents, problems } = await parseDocuments(text, 'given.yaml');
  if (problems.length > 0) throw new Error(problems[0]!.message);
  return documents.flatMap(unfoldLists);
}

/** Throws where a translation is not valid. */
export async function compiled({ objects }: Imported): Promise<CompiledPolicy> {
  return (await loadYaml(yamlOf({ objects, problems: [] }))).policy;
}

export function yamlOf({ objects }: Imported): string {
  return objects.map(object => `---\n${stringify(object, { aliasDuplicateObjects: false })}`).join('');
}

/** `line: message` of each note. */
export function notesOf({ problems }: Imported): string[] {
  return problems.map(
    ({ line, severity, message }) => `${line}: ${severity === 'error' ? 'error: ' : ''}${message}`,
  );
}
