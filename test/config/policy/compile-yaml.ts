// Policies for tests, written as the YAML people write: parsed, validated and compiled as the loader does.
// It throws on anything invalid, so that no test passes against a policy that is not there.

import { isMap, LineCounter, parseAllDocuments } from 'yaml';
import { type Cidr, parseAddress, parseCidr } from '../../../config/policy/address.ts';
import {
  type CompiledPolicy,
  type CompileInput,
  compilePolicies,
  type Problem,
  type SourcedDocument,
} from '../../../config/policy/compile.ts';
import { decideByAddress, decideByName } from '../../../config/policy/decide.ts';
import type { Decision, PolicyClient, Question, Workload } from '../../../config/policy/decision.ts';
import { parseAuthority } from '../../../config/policy/destination.ts';
import { policyKinds } from '../../../config/policy/schema.ts';

/** The documents of a YAML text, validated by the schemas of their kinds. */
function documentsOf(yaml: string, file = 'policy.yaml'): SourcedDocument[] {
  const lines = new LineCounter();
  return parseAllDocuments(yaml, { lineCounter: lines }).flatMap(document => {
    if (document.errors.length > 0) throw document.errors[0]!;
    const raw = document.toJS();
    if (raw === null) return [];
    const kind = policyKinds.find(each => each.apiVersion === raw.apiVersion && each.kind === raw.kind);
    if (kind === undefined) throw new Error(`no such kind: ${raw.apiVersion} ${raw.kind}`);
    const locate = (path: readonly (string | number)[]) => {
      for (let length = path.length; length >= 0; length--) {
        const node = document.getIn(path.slice(0, length), true) as { range?: [number] } | undefined;
        const range =
          length === 0 ? (isMap(document.contents) ? document.contents.range : null) : node?.range;
        if (range) {
          const { line, col } = lines.linePos(range[0]);
          return { line, column: col };
        }
      }
      return { line: 1, column: 1 };
    };
    return [{ value: kind.schema.parse(raw), file, locate }];
  });
}

export type CompileOptions = Partial<Omit<CompileInput, 'documents' | 'guardCidrs'>> & {
  guardCidrs?: Record<string, string>;
};

export function compileYaml(
  yaml: string,
  options: CompileOptions = {},
): { policy: CompiledPolicy; problems: Problem[] } {
  const { guardCidrs = {}, ...rest } = options;
  return compilePolicies({
    documents: documentsOf(yaml),
    guardCidrs: Object.entries(guardCidrs).map(([name, text]) => ({ name, cidr: cidr(text) })),
    self: { addresses: [cidr('127.0.0.1/32')], ports: [3128, 1080, 9128] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 7,
    ...rest,
  });
}

/** The compiled policy of YAML without problems. */
export function policyOf(yaml: string, options: CompileOptions = {}): CompiledPolicy {
  const { policy, problems } = compileYaml(yaml, options);
  if (problems.length > 0) throw new Error(problems[0]!.message);
  return policy;
}

/** A ClusterEgressPolicy; `spec` and `rules` are YAML flow or block text, indented for their place. */
export function clusterPolicy(name: string, spec: string, ...rules: string[]): string {
  const fields = [...spec.split(';').filter(field => field.trim() !== ''), `rules: [${rules.join(', ')}]`];
  const body = fields.map(field => `  ${field.trim()}\n`).join('');
  return `---\napiVersion: sallyport.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {name: ${name}}\nspec:\n${body}`;
}

export interface Asked {
  from?: string;
  user?: string;
  workload?: Workload;
  protocol?: 'TCP' | 'UDP';
  nowMs?: number;
  http?: { method: string; path: string };
  sni?: string | null;
}

export function questionOf(authority: string, asked: Asked = {}): Question {
  const destination = parseAuthority(authority);
  if (destination.kind === 'error') throw new Error(destination.message);
  const client: PolicyClient = {
    address: asked.from === undefined ? null : parseAddress(asked.from),
    user: asked.user ?? null,
    workload: asked.workload ?? null,
  };
  const { protocol = 'TCP', nowMs = 0, http, sni } = asked;
  return { client, destination, protocol, nowMs, ...(http && { http }), ...(sni !== undefined && { sni }) };
}

/** The whole decision as admission makes it: by name, then by the address it resolves to (or the literal). */
export function decideWhole(
  policy: CompiledPolicy,
  authority: string,
  resolved?: string,
  asked: Asked = {},
): Decision {
  const question = questionOf(authority, asked);
  const { destination } = question;
  if (destination.address !== null) return decideByAddress(policy, question, destination.address);
  const byName = decideByName(policy, question);
  if (byName !== 'resolve') return byName;
  const address = parseAddress(resolved ?? '93.184.216.34');
  if (address === null) throw new Error(`not an address: ${resolved}`);
  return decideByAddress(policy, question, address);
}

/** A workload with the labels given as `key=value` words. */
export function pod(namespace: string, labels = '', more: Partial<Workload> = {}): Workload {
  const pairs = labels
    .split(' ')
    .filter(word => word !== '')
    .map(word => word.split('=') as [string, string]);
  return {
    namespace,
    pod: 'pod-1',
    serviceAccount: 'default',
    owner: null,
    labels: Object.fromEntries(pairs),
    namespaceLabels: { 'kubernetes.io/metadata.name': namespace },
    ...more,
  };
}

/** `allow Admin ClusterEgressPolicy/a rule-name`: what tables compare. */
export function summary({ verdict, tier, policy, rule }: Decision): string {
  return [verdict, tier, policy, rule].filter(part => part !== null).join(' ');
}

export function cidr(text: string): Cidr {
  const block = parseCidr(text);
  if (block === null) throw new Error(`not a block: ${text}`);
  return block;
}
