// What to add so that a denied question is allowed: the least that does it, for this client, host and port alone.
// It proposes nothing that it has not compiled together with the rest and seen decide.

import { addressBits, cidrOf, type IpAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy } from '../../config/policy/compile.ts';
import type { PolicyClient, Question, Workload } from '../../config/policy/decision.ts';
import { withoutMapping } from '../../config/policy/embedded-ipv4.ts';
import { parsePathPattern } from '../../config/policy/http-condition.ts';
import type { PolicyTier } from '../../config/policy/policy-model.ts';
import { isError, type PolicySource, parsePolicies } from './policy-source.ts';
import { policyYaml, type WrittenPolicy, type WrittenRule } from './policy-yaml.ts';
import { type ReasonedStep, specialPurpose } from './reasoning.ts';
import { decideWhole } from './whole-decision.ts';

/** Where a new policy could stand. */
interface Place {
  readonly tier: PolicyTier;
  readonly priority: number;
  /** To come before a policy of the same priority. */
  readonly before: string | null;
}

/**
 * One document, ready to be saved or applied: the first of the proposals, from the least to the most weighty, with
 * which the question is allowed. Null where there is none, as for the gateway itself. `steps` are those on all addresses.
 */
export async function patchToAllow(
  source: PolicySource,
  question: Question,
  addresses: readonly IpAddress[],
  steps: readonly ReasonedStep[],
): Promise<string | null> {
  const rules = proposedRules(source.policy, question, addresses);
  for (const place of placesFor(source, question.client, steps)) {
    for (const rule of rules) {
      const yaml = policyYaml(policyFor(source, question, rule, place));
      if (await allows(source, yaml, question, addresses)) return yaml;
    }
  }
  return null;
}

async function allows(
  source: PolicySource,
  yaml: string,
  question: Question,
  addresses: readonly IpAddress[],
): Promise<boolean> {
  const parsed = await parsePolicies(yaml, 'patch.yaml');
  if (parsed.problems.length > 0) return false;
  const { policy, problems } = source.compile([...source.documents, ...parsed.documents]);
  return !problems.some(isError) && decideWhole(policy, question, addresses).decision.verdict === 'allow';
}

/**
 * Baseline after all others first: it takes nothing away from anyone. A namespace's own policy where one isolates the
 * client; Admin last, since it overrules what a namespace forbids.
 */
function placesFor(
  source: PolicySource,
  { workload }: PolicyClient,
  steps: readonly ReasonedStep[],
): Place[] {
  const after = (tier: PolicyTier): Place => ({ tier, priority: 1000, before: null });
  const namespaced = workload === null ? [] : [after('Namespace')];
  return [
    after('Baseline'),
    ...placeBefore(source, 'Baseline', steps),
    ...namespaced,
    after('Admin'),
    ...placeBefore(source, 'Admin', steps),
  ];
}

/** Just before the first policy of the tier that denies, or passes on before a later one could allow. */
function placeBefore(source: PolicySource, tier: PolicyTier, steps: readonly ReasonedStep[]): Place[] {
  const inTheWay = steps.filter(
    step => step.tier === tier && step.action !== 'Allow' && step.misses.length === 0,
  );
  const places = [...new Set(inTheWay.map(({ policy }) => policy))].map(label => ({
    priority: priorityOf(source, label),
    name: label.slice(label.lastIndexOf('/') + 1),
  }));
  const [first] = places.sort(
    (one, other) => one.priority - other.priority || (one.name < other.name ? -1 : 1),
  );
  if (first === undefined) return [];
  const { priority, name } = first;
  return [priority > 0 ? { tier, priority: priority - 1, before: null } : { tier, priority, before: name }];
}

/** Of the policy with this label; kinds without a priority come last in their tier. */
function priorityOf({ documents }: PolicySource, label: string): number {
  const found = documents.find(({ value }) => {
    const { kind, metadata } = value as { kind: string; metadata: { name: string } };
    return `${kind}/${metadata.name}` === label;
  });
  return (found?.value as { spec?: { priority?: number } } | undefined)?.spec?.priority ?? 1000;
}

function policyFor(source: PolicySource, question: Question, rule: WrittenRule, place: Place): WrittenPolicy {
  const { client } = question;
  const name = freeName(source, nameOf(`allow-${clientName(client)}-to-${question.destination.host}`));
  const first = place.before !== null && !(name < place.before) ? freeName(source, '0') : name;
  if (place.tier === 'Namespace') {
    const { namespace } = client.workload!;
    const spec = { subject: podSubject(client.workload!) };
    return { kind: 'EgressPolicy', metadata: { name, namespace }, spec, rules: [rule], comments: [] };
  }
  const spec = { tier: place.tier, priority: place.priority, subject: clusterSubject(client) };
  return { kind: 'ClusterEgressPolicy', metadata: { name: first }, spec, rules: [rule], comments: [] };
}

/** Labels that change with every rollout or differ between the pods of one workload. */
const passingLabels = /^(pod-template-|controller-|statefulset\.|apps\.|batch\.|job-)/;

function podSubject({ labels, serviceAccount }: Workload): object {
  const lasting = Object.entries(labels).filter(([key]) => !passingLabels.test(key));
  return {
    ...(lasting.length > 0 && { podSelector: { matchLabels: Object.fromEntries(lasting) } }),
    serviceAccounts: [serviceAccount],
  };
}

/** The workload where there is one, else the user, else the address alone. */
function clusterSubject({ workload, user, address }: PolicyClient): object {
  if (workload !== null) {
    const { namespace } = workload;
    const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': namespace } };
    return { namespaceSelector, ...podSubject(workload) };
  }
  if (user !== null) return { clients: { users: [user] } };
  return { clients: { cidrs: [single(withoutMapping(address!))] } };
}

function clientName({ workload, user, address }: PolicyClient): string {
  if (workload !== null) return `${workload.namespace}-${workload.serviceAccount}`;
  return user ?? withoutMapping(address!).text;
}

/** The name, or the first of it with a number that no policy has. */
function freeName({ documents }: PolicySource, name: string): string {
  const taken = new Set(
    documents.map(({ value }) => (value as { metadata: { name: string } }).metadata.name),
  );
  let free = name;
  for (let at = 2; taken.has(free); at++) free = `${name}-${at}`;
  return free;
}

/** A Kubernetes name made of any text. */
function nameOf(text: string): string {
  const plain = text.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return plain.slice(0, 63).replace(/^-+|-+$/g, '') || 'allow';
}

/** Without opening anything special first, then with the special-purpose addresses that are really there. */
function proposedRules(
  policy: CompiledPolicy,
  question: Question,
  addresses: readonly IpAddress[],
): WrittenRule[] {
  const { destination, http, sni } = question;
  const { host, port, address } = destination;
  const name = nameOf(`${host}-${port}`);
  const base = { name, hosts: [], cidrs: [], ports: [port], ...(http && { http: requestOf(http) }) };
  if (address !== null) return [{ ...base, cidrs: [entryFor(policy, address)] }];
  const byName = serverNamed({ ...base, hosts: [{ text: host }] }, sni, host);
  const guarded = addresses.filter(each => policy.guard.hitOf(each) !== null);
  if (guarded.length === 0) return [byName];
  return [byName, { ...byName, resolvesTo: guarded.map(each => entryFor(policy, each)) }];
}

/** A server name other than the host is let through by naming it, none at all by asking for none. */
function serverNamed(rule: WrittenRule, sni: string | null | undefined, host: string): WrittenRule {
  if (sni === undefined || sni === host) return rule;
  if (sni === null) return { ...rule, tls: { sni: 'Any' } };
  return { ...rule, hosts: [...rule.hosts, { text: sni }], tls: { sni: 'SameRule' } };
}

/** A path that servers may read in two ways fits no Allow, and is left out. */
function requestOf({ method, path }: { method: string; path: string }): object {
  const plain = path.split(/[?#]/, 1)[0]!;
  const isPlain = parsePathPattern(plain)?.isPrefix === false;
  return { methods: [method], ...(isPlain && { paths: [plain] }) };
}

function entryFor(policy: CompiledPolicy, address: IpAddress) {
  const comment = specialPurpose(policy, address);
  return { text: single(address), ...(comment !== null && { comment }) };
}

function single(address: IpAddress): string {
  return cidrOf(address, addressBits(address.family)).text;
}
