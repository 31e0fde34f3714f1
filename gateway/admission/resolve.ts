// Names to addresses: A and AAAA together, remembered for their TTL, one query at a time for each name.
// It goes to the DNS servers only: no search domains and no hosts file, so that a name means the same to
// policy and to the connection. It judges no address; admit.ts does.

import { Resolver } from 'node:dns/promises';
import type { Limits } from '../../config/gateway-config.ts';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { Failure } from '../session/failure.ts';
import { DnsCache, type Resolution } from './dns-cache.ts';

interface Answer {
  address: string;
  ttl: number;
}

/** RFC 6761 section 6.3: these names never go to a DNS server. */
const loopback: readonly IpAddress[] = [parseAddress('::1')!, parseAddress('127.0.0.1')!];
const isLocalhost = (name: string) => name === 'localhost' || name.endsWith('.localhost');

const noAddressCodes = new Set(['ENOTFOUND', 'ENODATA']);

/** What a look-up found. */
export interface Found {
  readonly resolution: Resolution;
  /** How long it may be remembered; 0 is not at all. */
  readonly ttlMs: number;
}

/** Who is asked for what is not remembered; never rejects for what a name or a server is. */
export type LookUp = (name: string, servers: readonly string[] | null, limits: Limits) => Promise<Found>;

export class NameResolver {
  readonly #cache = new DnsCache();
  #inFlight = new Map<string, Promise<Found>>();
  readonly #lookUp: LookUp;
  #servers: readonly string[] | null | undefined;
  /** Look-ups that were made, by how they ended. */
  readonly lookups = { found: 0, failed: 0 };

  /** @param lookUp by default asks the DNS servers */
  constructor(lookUp: LookUp = dnsLookUp()) {
    this.#lookUp = lookUp;
  }

  get cache(): DnsCache {
    return this.#cache;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /**
   * The addresses of a normalised name, at least one; at once where they are remembered.
   * @throws Failure `name-not-found`, `name-without-address`, `resolve-failed`, `resolve-timeout`, `resolve-busy`
   */
  resolve(
    name: string,
    servers: readonly string[] | null,
    limits: Limits,
  ): readonly IpAddress[] | Promise<readonly IpAddress[]> {
    if (isLocalhost(name)) return loopback;
    this.#use(servers);
    const known = this.#cache.get(name, performance.now());
    if (known !== null) return addressesOf(known.resolution);
    return this.#lookUpOnce(name, limits).then(({ resolution }) => addressesOf(resolution));
  }

  /** The same with the time that it may still be remembered, for another thread's memory. */
  async find(name: string, servers: readonly string[] | null, limits: Limits): Promise<Found> {
    this.#use(servers);
    const nowMs = performance.now();
    const known = this.#cache.get(name, nowMs);
    if (known === null) return this.#lookUpOnce(name, limits);
    return { resolution: known.resolution, ttlMs: known.expiresAtMs - nowMs };
  }

  /** Other servers may answer otherwise: what was remembered, or is being asked, is forgotten with them. */
  #use(servers: readonly string[] | null): void {
    if (servers === this.#servers) return;
    this.#servers = servers;
    this.#cache.clear();
    this.#inFlight = new Map();
  }

  async #lookUpOnce(name: string, limits: Limits): Promise<Found> {
    const inFlight = this.#inFlight;
    const running = inFlight.get(name);
    if (running !== undefined) return running;
    if (inFlight.size >= limits.resolvesInFlight)
      return notRemembered(new Failure('resolve-busy', 'too many names are being looked up'));
    const lookup = this.#lookUpNow(name, limits).finally(() => inFlight.delete(name));
    inFlight.set(name, lookup);
    return lookup;
  }

  async #lookUpNow(name: string, limits: Limits): Promise<Found> {
    const servers = this.#servers ?? null;
    const found = await withDeadline(this.#lookUp(name, servers, limits), name, limits);
    const { resolution, ttlMs } = found;
    this.lookups[resolution instanceof Failure ? 'failed' : 'found'] += 1;
    const isOfNow = servers === (this.#servers ?? null);
    if (ttlMs > 0 && isOfNow)
      this.#cache.set(name, resolution, performance.now() + ttlMs, limits.dnsCacheEntries);
    return found;
  }
}

const notRemembered = (failure: Failure): Found => ({ resolution: failure, ttlMs: 0 });

/** Asks the servers for A and AAAA. */
function dnsLookUp(): LookUp {
  let resolver: Resolver | null = null;
  let usedFor: unknown[] = [];
  const resolverFor = (servers: readonly string[] | null, { resolveTimeout }: Limits) => {
    if (resolver && usedFor[0] === servers && usedFor[1] === resolveTimeout) return resolver;
    usedFor = [servers, resolveTimeout];
    const timeout = Math.max(50, Math.floor(resolveTimeout / 3));
    resolver = new Resolver({ timeout, tries: 3, maxTimeout: timeout });
    if (servers) resolver.setServers(servers);
    return resolver;
  };
  return async (name, servers, limits) => {
    const options = { ttl: true } as const;
    const asked = resolverFor(servers, limits);
    const [v6, v4] = await Promise.allSettled([asked.resolve6(name, options), asked.resolve4(name, options)]);
    const answers = interleave(answersOf(v6), answersOf(v4)).slice(0, limits.dnsAddressesPerName);
    const codes = [errorOf(v6), errorOf(v4)];
    if (answers.length > 0) return foundAddresses(answers, codes, limits);
    return foundNothing(name, codes, limits);
  };
}

/** @throws the Failure that stands for no addresses */
function addressesOf(resolution: Resolution): readonly IpAddress[] {
  if (resolution instanceof Failure) throw resolution;
  return resolution;
}

const answersOf = (settled: PromiseSettledResult<Answer[]>) =>
  settled.status === 'fulfilled' ? settled.value : [];
const errorOf = (settled: PromiseSettledResult<Answer[]>) =>
  settled.status === 'rejected' ? ((settled.reason as NodeJS.ErrnoException).code ?? 'EUNKNOWN') : 'ENODATA';

/** RFC 8305 section 4: families in turn, IPv6 first. */
function interleave<T>(first: readonly T[], second: readonly T[]): T[] {
  const length = Math.max(first.length, second.length);
  return Array.from({ length }, (_, i) => [first[i], second[i]])
    .flat()
    .filter(item => item !== undefined);
}

/** Half an answer, where one of the two questions failed, is remembered no longer than none. */
function foundAddresses(answers: Answer[], codes: readonly string[], limits: Limits): Found {
  const addresses = answers.map(answer => parseAddress(answer.address)).filter(address => address !== null);
  const ttlMs = Math.min(...answers.map(answer => answer.ttl)) * 1000;
  const whole = Math.min(Math.max(ttlMs, limits.dnsMinimumTtl), limits.dnsMaximumTtl);
  return {
    resolution: Object.freeze(addresses),
    ttlMs: codes.every(code => noAddressCodes.has(code)) ? whole : Math.min(whole, limits.dnsNegativeTtl),
  };
}

/** A name without addresses is remembered for a short time; a server that failed is asked again. */
function foundNothing(name: string, codes: readonly string[], limits: Limits): Found {
  const trouble = codes.find(code => !noAddressCodes.has(code));
  if (trouble === 'ETIMEOUT') return notRemembered(timedOut(name));
  if (trouble) return notRemembered(new Failure('resolve-failed', `looking up ${name}: ${trouble}`));
  const failure = codes.every(code => code === 'ENOTFOUND')
    ? new Failure('name-not-found', `looking up ${name}: no such name`)
    : new Failure('name-without-address', `looking up ${name}: the name has no address`);
  return { resolution: failure, ttlMs: limits.dnsNegativeTtl };
}

const timedOut = (name: string) => new Failure('resolve-timeout', `looking up ${name}: no answer in time`);

async function withDeadline(found: Promise<Found>, name: string, limits: Limits): Promise<Found> {
  const { promise: late, resolve } = Promise.withResolvers<Found>();
  const timer = setTimeout(() => resolve(notRemembered(timedOut(name))), limits.resolveTimeout);
  try {
    return await Promise.race([found, late]);
  } finally {
    clearTimeout(timer);
  }
}
