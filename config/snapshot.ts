// The snapshot: configuration, compiled policy and users in force, frozen and whole. A session takes one reference
// when it starts. It is built from loaded values; it reads no file.

import type { ClusterPolicy } from './cluster.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { type Cidr, type IpAddress, parseAddress, parseCidr } from './policy/address.ts';
import {
  type CompiledPolicy,
  type CompileInput,
  compilePolicies,
  compilePoliciesInTurns,
  type Problem,
  type SourcedDocument,
  withGuard,
} from './policy/compile.ts';
import { sallyportVersion } from './policy/version.ts';
import type { UserTable } from './users-file.ts';

export interface Snapshot {
  /** Counts up with each swap, from 1. */
  readonly generation: number;
  readonly config: GatewayConfig;
  readonly policy: CompiledPolicy;
  readonly users: UserTable;
  readonly sourceAddresses: readonly IpAddress[];
}

/** What the guard has to know of the host: it may change while the policy stays. */
export interface HostFacts {
  /** Where the gateway itself listens: never a destination. */
  self: { addresses: Cidr[]; ports: number[] };
  /** Addresses of this host's own interfaces, loopback aside: a destination only where a rule names one. */
  hostAddresses: Cidr[];
}

export interface SnapshotInput extends HostFacts {
  config: GatewayConfig;
  documents: SourcedDocument[];
  users: UserTable;
  generation: number;
  /** What the cluster adds; null without one. */
  cluster: ClusterPolicy | null;
}

/** A snapshot, and what is wrong with its policies: with an error among them it must not take force. */
export interface BuiltSnapshot {
  snapshot: Snapshot;
  problems: Problem[];
}

/** Builds a snapshot in one piece: at the start, and for the command line. */
export function buildSnapshot(input: SnapshotInput): BuiltSnapshot {
  return snapshotOf(input, compilePolicies(compileInput(input)));
}

/** Builds a snapshot beside live sessions: a few milliseconds of work between two calls of `pause`. */
export async function buildSnapshotInTurns(
  input: SnapshotInput,
  pause: () => Promise<void>,
): Promise<BuiltSnapshot> {
  return snapshotOf(input, await compilePoliciesInTurns(compileInput(input), pause));
}

/** The same snapshot on a host whose addresses have changed: no rule is compiled again. */
export function withHost(snapshot: Snapshot, host: HostFacts, ranges: ClusterPolicy['ranges']): Snapshot {
  const policy = withGuard(snapshot.policy, guardInput(snapshot.config, host, ranges));
  return Object.freeze({ ...snapshot, policy });
}

function guardInput(
  { guard }: GatewayConfig,
  { self, hostAddresses }: HostFacts,
  ranges: ClusterPolicy['ranges'],
): Pick<CompileInput, 'guardCidrs' | 'self'> {
  const guardCidrs = [
    ...guard.cidrs.map(text => ({ name: 'configured guard range', cidr: parseCidr(text)! })),
    ...ranges,
    ...hostAddresses.map(cidr => ({ name: "the gateway's own address", cidr })),
  ];
  return { guardCidrs, self };
}

function compileInput({ config, generation, cluster, ...input }: SnapshotInput): CompileInput {
  return {
    documents: [...poolDocuments(config), ...input.documents, ...(cluster?.documents ?? [])],
    ...guardInput(config, input, cluster?.ranges ?? []),
    defaultAction: config.defaults.action,
    onForbiddenAnswer: config.guard.onForbiddenAnswer,
    guardMode: config.guard.mode,
    generation,
    readsServerNames: true,
  };
}

/** The pools of the configuration, as the objects they stand for. */
function poolDocuments({ egress }: GatewayConfig): SourcedDocument[] {
  return egress.pools.map(({ name, ...spec }) => ({
    value: { apiVersion: sallyportVersion, kind: 'EgressIPPool', metadata: { name }, spec },
    file: 'egress.pools of the configuration',
    locate: () => ({ line: 0, column: 0 }),
  }));
}

function snapshotOf(
  { config, generation, users }: SnapshotInput,
  { policy, problems }: { policy: CompiledPolicy; problems: Problem[] },
): BuiltSnapshot {
  const sourceAddresses = config.egress.sourceAddresses.map(text => parseAddress(text)!);
  return {
    snapshot: Object.freeze({ generation, config, policy, users, sourceAddresses }),
    problems,
  };
}
