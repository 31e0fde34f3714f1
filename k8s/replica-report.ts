// What a replica says of itself in the annotations of its Lease, written and read. Reading trusts nothing: whoever may
// write Leases in the gateway's namespace could write here, so what makes no sense is left out, and all is bounded.

import { createHash } from 'node:crypto';
import type { PoolUse } from '../config/cluster.ts';
import { parseAddress } from '../config/policy/address.ts';
import type { Problem } from '../config/policy/compile.ts';
import { formatProblem } from '../config/problems.ts';
import { fieldsOf } from './raw-object.ts';
import { isVersion } from './resource-version.ts';

export const reportAnnotations = Object.freeze({
  /** JSON: the highest resourceVersion that is in force, by resource. */
  applied: 'sallyport.dev/applied',
  /** `true` while the replica takes clients. */
  ready: 'sallyport.dev/ready',
  /** JSON: how often each policy decided since the start, by label; the largest ones. */
  hits: 'sallyport.dev/hits',
  /** How many policies with hits did not fit. */
  hitsLeftOut: 'sallyport.dev/hits-left-out',
  /** JSON: by EgressIPPool, its addresses on this host with the number of open sessions; as many as fit. */
  addresses: 'sallyport.dev/addresses',
  /** Names one run of the process: its counts begin at zero. */
  started: 'sallyport.dev/started',
  /** Digest of what it finds wrong with objects; replicas of one version and one state agree. */
  problems: 'sallyport.dev/problems',
});

export interface ReplicaReport {
  readonly started: string;
  readonly ready: boolean;
  readonly applied: ReadonlyMap<string, string>;
  readonly problems: string;
  readonly hits: ReadonlyMap<string, number>;
  /** Open sessions by address, by pool. */
  readonly addresses: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

const limits = {
  /** Bytes; all annotations of an object may have 256 KiB together. */
  hitsBytes: 128 * 1024,
  /** Bytes of `addresses`: about 1,500 of them. */
  addressBytes: 48 * 1024,
  /** Resources in `applied`: we watch a dozen. */
  resources: 64,
};

export function writeApplied(versions: Readonly<Record<string, string>>): string {
  const sound = Object.entries(versions).filter(([, version]) => isVersion(version));
  return JSON.stringify(Object.fromEntries(sound.sort().slice(0, limits.resources)));
}

/** The largest counts, as many as fit. */
export function writeHits(
  hits: ReadonlyMap<string, number>,
  mostBytes = limits.hitsBytes,
): { readonly text: string; readonly leftOut: number } {
  const largest = [...hits].sort(([, one], [, other]) => other - one);
  const parts: string[] = [];
  let bytes = 2;
  for (const [label, count] of largest) {
    const part = `${JSON.stringify(label)}:${count}`;
    bytes += Buffer.byteLength(part) + 1;
    if (bytes > mostBytes) break;
    parts.push(part);
  }
  return { text: `{${parts.join(',')}}`, leftOut: largest.length - parts.length };
}

/** Whole pools, as many as fit, by name. */
export function writeAddresses(pools: ReadonlyMap<string, PoolUse>): string {
  const parts: string[] = [];
  let bytes = 2;
  for (const [name, { sessions }] of [...pools].sort(([one], [other]) => (one < other ? -1 : 1))) {
    if (sessions.size === 0) continue;
    const part = `${JSON.stringify(name)}:${JSON.stringify(Object.fromEntries(sessions))}`;
    bytes += Buffer.byteLength(part) + 1;
    if (bytes > limits.addressBytes) break;
    parts.push(part);
  }
  return `{${parts.join(',')}}`;
}

export function problemsDigest(problems: readonly Problem[]): string {
  const lines = problems.filter(({ fromCluster }) => fromCluster).map(formatProblem);
  return createHash('sha256').update(lines.sort().join('\n')).digest('hex').slice(0, 16);
}

/** The report in these annotations; null where there is none. */
export function readReport(annotations: Readonly<Record<string, string>>): ReplicaReport | null {
  const started = annotations[reportAnnotations.started];
  if (typeof started !== 'string' || started === '') return null;
  return {
    started,
    ready: annotations[reportAnnotations.ready] === 'true',
    applied: readMap(annotations[reportAnnotations.applied], isVersion, limits.resources),
    problems: annotations[reportAnnotations.problems] ?? '',
    hits: readMap(annotations[reportAnnotations.hits], isCount, Number.POSITIVE_INFINITY),
    addresses: readAddresses(annotations[reportAnnotations.addresses]),
  };
}

function readAddresses(text: unknown): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const pools = new Map<string, ReadonlyMap<string, number>>();
  for (const [pool, sessions] of entriesOf(text)) {
    const counts = Object.entries(fieldsOf(sessions)).filter(
      (entry): entry is [string, number] => parseAddress(entry[0]) !== null && isCount(entry[1]),
    );
    pools.set(pool, new Map(counts));
  }
  return pools;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function readMap<T>(
  text: unknown,
  fits: (value: unknown) => value is T,
  most: number,
): ReadonlyMap<string, T> {
  const read = new Map<string, T>();
  for (const [key, value] of entriesOf(text)) if (fits(value) && read.size < most) read.set(key, value);
  return read;
}

function entriesOf(text: unknown): readonly [string, unknown][] {
  if (typeof text !== 'string' || text.length > limits.hitsBytes) return [];
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  } catch {
    return [];
  }
}
