// The snapshot: configuration, compiled policy and users in force, frozen and whole. A session takes one reference
// when it starts. It is built from loaded values; it reads no file.

import type { GatewayConfig } from './gateway-config.ts';
import { type Cidr, type IpAddress, parseAddress, parseCidr } from './policy/address.ts';
import {
  type CompiledPolicy,
  compilePolicies,
  type Problem,
  type SourcedDocument,
} from './policy/compile.ts';
import type { UserTable } from './users-file.ts';

export interface Snapshot {
  /** Counts up with each swap, from 1. */
  readonly generation: number;
  readonly config: GatewayConfig;
  readonly policy: CompiledPolicy;
  readonly users: UserTable;
  readonly sourceAddresses: readonly IpAddress[];
}

export interface SnapshotInput {
  config: GatewayConfig;
  documents: SourcedDocument[];
  users: UserTable;
  generation: number;
  /** Where the gateway itself listens: never a destination. */
  self: { addresses: Cidr[]; ports: number[] };
  /** Addresses of this host's own interfaces, loopback aside: a destination only where a rule names one. */
  hostAddresses: Cidr[];
}

/** Builds the next snapshot, or says every reason why it cannot. */
export function buildSnapshot(input: SnapshotInput): { snapshot: Snapshot; problems: Problem[] } {
  const { config, generation } = input;
  const { policy, problems } = compilePolicies({
    documents: input.documents,
    guardCidrs: [
      ...config.guard.cidrs.map(text => ({ name: 'configured guard range', cidr: parseCidr(text)! })),
      ...input.hostAddresses.map(cidr => ({ name: "the gateway's own address", cidr })),
    ],
    self: input.self,
    defaultAction: config.defaults.action,
    onForbiddenAnswer: config.guard.onForbiddenAnswer,
    generation,
    readsServerNames: true,
  });
  const sourceAddresses = config.egress.sourceAddresses.map(text => parseAddress(text)!);
  return {
    snapshot: Object.freeze({ generation, config, policy, users: input.users, sourceAddresses }),
    problems,
  };
}
