// Who asks, from the words of a command line or a file of cases. It identifies nobody: the facts are taken as given.

import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { type CompiledPolicy, workloadOf } from '../../config/policy/compile.ts';
import type { PolicyClient, Workload } from '../../config/policy/decision.ts';

/** What is told of a workload; what is left out is as Kubernetes has it by default. */
interface WorkloadFacts {
  readonly namespace: string;
  readonly pod?: string | undefined;
  readonly serviceAccount?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Beside `kubernetes.io/metadata.name`, which every namespace has. */
  readonly namespaceLabels?: Readonly<Record<string, string>> | undefined;
}

export interface ClientFacts {
  readonly address: IpAddress | null;
  readonly user: string | null;
  /** Null takes the workload that the policies' files give the address to, if any. */
  readonly workload: WorkloadFacts | null;
}

export function clientOf(policy: CompiledPolicy, { address, user, workload }: ClientFacts): PolicyClient {
  const known = address === null ? null : workloadOf(policy, address);
  return { address, user, workload: workload === null ? known : completed(workload) };
}

/** Client as people read it: `default/web-1 10.1.2.3 user alice`. */
export function textOfClient({ address, user, workload }: PolicyClient): string {
  const parts = [
    ...(workload === null ? [] : [`${workload.namespace}/${workload.pod || workload.serviceAccount}`]),
    ...(address === null ? [] : [address.text]),
    ...(user === null ? [] : [`user ${user}`]),
  ];
  return parts.length === 0 ? 'an unknown client' : parts.join(' ');
}

/** `key=value,key=value`; null for anything else. */
export function parseLabels(text: string): Record<string, string> | null {
  const pairs = text.split(',').map(pair => /^([^=\s]+)=([^=\s]*)$/.exec(pair));
  return pairs.every(pair => pair !== null)
    ? Object.fromEntries(pairs.map(([, key, value]) => [key!, value!]))
    : null;
}

/** An address as it may be typed; null for anything else. */
export function parseClientAddress(text: string): IpAddress | null {
  return parseAddress(text.replace(/^\[(.*)\]$/, '$1'));
}

function completed(facts: WorkloadFacts): Workload {
  const { namespace, pod = '', serviceAccount = 'default', labels = {}, namespaceLabels = {} } = facts;
  return {
    namespace,
    pod,
    serviceAccount,
    owner: null,
    labels,
    namespaceLabels: { ...namespaceLabels, 'kubernetes.io/metadata.name': namespace },
  };
}
