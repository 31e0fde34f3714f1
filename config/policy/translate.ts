// Documents of every kind to the one model that is compiled. Each kind's meaning is here or in a file of its own;
// what two documents may not both say (the same name twice) is found here too.

import type { Problem, SourcedDocument } from './compile.ts';
import type { PolicyModel, PortRange, RuleModel, Subject } from './policy-model.ts';
import type { ClusterEgressPolicy, RuleSpec } from './schema.ts';

/** The models of all documents that are usable; a problem for each that is not. */
export function translate(documents: readonly SourcedDocument[], problems: Problem[]): PolicyModel[] {
  const models = new Map<string, PolicyModel>();
  for (const document of documents) {
    const model = translateClusterEgressPolicy(document, document.value as ClusterEgressPolicy);
    const earlier = models.get(model.label);
    if (earlier === undefined) models.set(model.label, model);
    else problems.push(duplicate(document, model, earlier));
  }
  return [...models.values()];
}

function duplicate(document: SourcedDocument, model: PolicyModel, earlier: PolicyModel): Problem {
  return {
    file: document.file,
    ...document.locate(['metadata', 'name']),
    severity: 'error',
    message: `${model.label} is already defined at ${earlier.origin}`,
    remedy: 'give it a name of its own, or put the rules into one policy',
  };
}

function translateClusterEgressPolicy(
  document: SourcedDocument,
  { metadata, spec }: ClusterEgressPolicy,
): PolicyModel {
  return {
    tier: spec.tier,
    label: `ClusterEgressPolicy/${metadata.name}`,
    name: metadata.name,
    priority: spec.priority,
    audit: spec.mode === 'Audit',
    expiresAtMs: spec.expiresAt ?? Infinity,
    subject: clusterSubject(spec.subject),
    isolates: false,
    rules: spec.rules.map((rule, at) => translateRule(rule, originOf(document, ['spec', 'rules', at]))),
    origin: originOf(document, ['metadata', 'name']),
  };
}

function clusterSubject(subject: ClusterEgressPolicy['spec']['subject']): Subject {
  if (subject === undefined) return { kind: 'everyone' };
  const { clients, namespaceSelector, podSelector, serviceAccounts } = subject;
  if (clients !== undefined)
    return { kind: 'clients', cidrs: clients.cidrs ?? null, users: clients.users ?? null };
  return {
    kind: 'workloads',
    namespace: null,
    namespaceSelector: namespaceSelector ?? null,
    podSelector: podSelector ?? null,
    serviceAccounts: serviceAccounts ?? null,
  };
}

function translateRule(rule: RuleSpec, origin: string): RuleModel {
  return {
    name: rule.name,
    action: rule.action,
    to: rule.to ?? null,
    ports: translatePorts(rule),
    resolvesTo: rule.resolvesTo ?? [],
    expiresAtMs: rule.expiresAt ?? Infinity,
    origin,
  };
}

function translatePorts({ ports, protocol }: RuleSpec): PortRange[] {
  if (ports === undefined) return [{ protocol, from: 1, to: 65_535 }];
  return ports.map(port =>
    typeof port === 'number'
      ? { protocol, from: port, to: port }
      : { protocol, from: port.port, to: port.endPort },
  );
}

function originOf(document: SourcedDocument, path: (string | number)[]): string {
  return `${document.file}:${document.locate(path).line}`;
}
