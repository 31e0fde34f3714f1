// Policies for tests that care where things stand: YAML text through the loader's own parser and schemas, compiled.
// It throws on anything invalid, so that no test passes against a policy that is not there.

import { parseDocuments } from '../../../config/documents.ts';
import { kindOf, unfoldLists } from '../../../config/kinds.ts';
import {
  type CompiledPolicy,
  compilePolicies,
  type Problem,
  type SourcedDocument,
} from '../../../config/policy/compile.ts';
import { policyKinds } from '../../../config/policy/schema.ts';
import { checkDocument } from '../../../config/schema-problems.ts';

export interface LoadedYaml {
  documents: SourcedDocument[];
  policy: CompiledPolicy;
  /** Warnings. */
  problems: Problem[];
}

export async function loadYaml(text: string, file = 'policy.yaml'): Promise<LoadedYaml> {
  const { documents: parsed, problems: unreadable } = await parseDocuments(text, file);
  refuse(unreadable);
  const documents = parsed.flatMap(unfoldLists).map((document): SourcedDocument => {
    const kind = kindOf(document, policyKinds);
    if ('message' in kind) throw new Error(`${kind.line}: ${kind.message}`);
    const { value, problems } = checkDocument<unknown>(kind.schema, document);
    refuse(problems ?? []);
    return { ...document, value };
  });
  const { policy, problems } = compilePolicies({
    documents,
    guardCidrs: [],
    self: { addresses: [], ports: [] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 1,
    readsServerNames: true,
  });
  refuse(problems);
  return { documents, policy, problems };
}

function refuse(problems: readonly Problem[]): void {
  const error = problems.find(({ severity }) => severity === 'error');
  if (error) throw new Error(`${error.line}:${error.column}: ${error.message}`);
}
