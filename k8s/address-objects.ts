// The Leases behind leased addresses, as objects: one for each address, which says who holds it, and one for each
// replica that can hold some. Names, labels and annotations, written and read; reading trusts nothing. It calls nobody.

import { createHash } from 'node:crypto';
import type { IpAddress } from '../config/policy/address.ts';
import type { Candidate } from './address-assignment.ts';
import { claimed, isFree, type Lease, leaseKind, released } from './lease.ts';

const roleLabel = 'sallyport.dev/role';
const roles = Object.freeze({ address: 'address', candidate: 'address-candidate' });

/** What is listed and watched: both kinds in one. */
export const addressSelector = `${roleLabel} in (${roles.address},${roles.candidate})`;

const annotations = Object.freeze({
  address: 'sallyport.dev/address',
  pool: 'sallyport.dev/pool',
  node: 'sallyport.dev/node',
  zone: 'sallyport.dev/zone',
  /** Of a candidate: names of the pools that it serves, with commas; empty for all. */
  pools: 'sallyport.dev/pools',
  /** Of a candidate: whether it would take addresses now. */
  takes: 'sallyport.dev/takes-addresses',
  /** How often in a row the address was found on another host. */
  duplicates: 'sallyport.dev/duplicates',
});

export type AddressRole = 'address' | 'candidate';

/** Null for a Lease that is neither. */
export function roleOf({ metadata }: Lease): AddressRole | null {
  const role = metadata.labels?.[roleLabel];
  if (role === roles.address) return 'address';
  return role === roles.candidate ? 'candidate' : null;
}

/** A process: its replica, and which run of it. A Lease of an earlier run is another's. */
export function identityOf(replica: string, started: string): string {
  return `${replica}_${started}`;
}

export function replicaOfIdentity(identity: string): string {
  return identity.replace(/_[^_]*$/, '');
}

const longestName = 253;

/** With `-` for what no name may have. One that would end with it gets the zero that `::` stands for. */
export function addressLeaseName({ text }: IpAddress): string {
  return `sallyport-address-${text.replace(/[.:]/g, '-').replace(/-$/, '-0')}`;
}

export function candidateLeaseName(replica: string): string {
  const name = `sallyport-candidate-${replica}`;
  if (name.length <= longestName) return name;
  const digest = createHash('sha256').update(replica).digest('hex').slice(0, 8);
  return `${name.slice(0, longestName - 9).replace(/[.-]+$/, '')}-${digest}`;
}

/** What one process writes into the Lease of one address. */
export interface AddressClaim {
  readonly address: IpAddress;
  readonly pool: string;
  readonly identity: string;
  readonly node: string;
  /** How long others leave it a silent holder. */
  readonly durationMs: number;
}

/** Held by us; made anew where there is none. `duplicates` as of `duplicatesOf`. */
export function claimedAddress(
  lease: Lease | null,
  claim: AddressClaim,
  duplicates: number,
  now: Date,
): Lease {
  const { identity, durationMs } = claim;
  return described(claimed(lease ?? newLease(claim), { identity, durationMs, now }), claim, duplicates);
}

/** Held by nobody. */
export function releasedAddress(lease: Lease, claim: AddressClaim, duplicates: number, now: Date): Lease {
  return described(released(lease, now), claim, duplicates);
}

function newLease({ address }: AddressClaim): Lease {
  return { ...leaseKind, metadata: { name: addressLeaseName(address) } };
}

function described(lease: Lease, { address, pool, node }: AddressClaim, duplicates: number): Lease {
  const { [annotations.duplicates]: _, ...others } = lease.metadata.annotations ?? {};
  return {
    ...lease,
    metadata: {
      ...lease.metadata,
      labels: { ...lease.metadata.labels, ...labelsOf(roles.address) },
      annotations: {
        ...others,
        [annotations.address]: address.text,
        [annotations.pool]: pool,
        [annotations.node]: node,
        ...(duplicates > 0 && { [annotations.duplicates]: String(duplicates) }),
      },
    },
  };
}

function labelsOf(role: string): Record<string, string> {
  return { 'app.kubernetes.io/name': 'sallyport', [roleLabel]: role };
}

/** How often in a row the address was found on another host; 0 where it was not. */
export function duplicatesOf(lease: Lease | null): number {
  const text = lease?.metadata.annotations?.[annotations.duplicates] ?? '';
  return /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0;
}

/** Identity of the holder; null for nobody. */
export function holderOf(lease: Lease | null): string | null {
  return lease === null || isFree(lease) ? null : lease.spec!.holderIdentity!;
}

/** Node of the one that holds or held it; null where that is not known. */
export function nodeOfHolder(lease: Lease): string | null {
  return lease.metadata.annotations?.[annotations.node] ?? null;
}

/** What a replica says of itself. */
export interface CandidateFacts {
  readonly identity: string;
  readonly replica: string;
  readonly node: string;
  readonly zone: string;
  /** Null for all. */
  readonly pools: readonly string[] | null;
  readonly takesAddresses: boolean;
}

/** The changing part of a candidate's Lease, for a merge patch; with name and kind it makes a new one. */
export function candidateLease(facts: CandidateFacts, durationMs: number, renewTime: string): Lease {
  return {
    ...leaseKind,
    metadata: {
      name: candidateLeaseName(facts.replica),
      labels: labelsOf(roles.candidate),
      annotations: {
        [annotations.node]: facts.node,
        [annotations.zone]: facts.zone,
        [annotations.pools]: facts.pools?.join(',') ?? '',
        [annotations.takes]: String(facts.takesAddresses),
      },
    },
    spec: {
      holderIdentity: facts.identity,
      leaseDurationSeconds: Math.ceil(durationMs / 1000),
      renewTime,
    },
  };
}

/** Null for one that takes no addresses. */
export function candidateIn(lease: Lease): Omit<Candidate, 'suspect'> | null {
  const told = lease.metadata.annotations ?? {};
  const identity = holderOf(lease);
  if (identity === null || told[annotations.takes] !== 'true') return null;
  const replica = replicaOfIdentity(identity);
  const pools = told[annotations.pools] ?? '';
  return {
    identity,
    replica,
    node: told[annotations.node] ?? replica,
    zone: told[annotations.zone] ?? '',
    pools: pools === '' ? null : pools.split(','),
  };
}
