// The gateway's own configuration: one schema, from which the type, the defaults and the checks all come.
// It knows no files and no sockets: load.ts reads, the gateway acts.

import { z } from 'zod';
import { addressBits, type Cidr, cidrOf, cidrProblem, parseAddress, parseCidr } from './policy/address.ts';
import { nameSchema, refuse } from './policy/schema-parts.ts';
import { poolSpecSchema } from './policy/schema-pool.ts';
import { parseReflectorUrl, type ReflectorUrl } from './reflector-url.ts';

const durationUnitMs: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const byteUnit: Record<string, number> = {
  '': 1,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
};

const durationForm = 'a duration such as 10s, 1m30s or 250ms';

/** `10s`, `1m30s`, `250ms`, `50us` (the notation of Kubernetes' `metav1.Duration`) to milliseconds. */
function duration(defaultText: string, minMs: number, maxMs: number) {
  const toMs = (text: string) =>
    [...text.matchAll(/(\d+(?:\.\d+)?)(us|ms|s|m|h)/g)].reduce(
      (sum, [, n, unit]) => sum + Number(n) * durationUnitMs[unit!]!,
      0,
    );
  return z
    .string(durationForm)
    .regex(/^(\d+(\.\d+)?(us|ms|s|m|h))+$/, durationForm)
    .transform(toMs)
    .refine(ms => ms >= minMs && ms <= maxMs, `a duration from ${minMs} ms to ${maxMs} ms`)
    .prefault(defaultText);
}

const bytesForm = 'a size such as 64Ki or 16Mi';

/** `64Ki`, `16Mi`, `1000` (the notation of Kubernetes' `resource.Quantity`) to bytes. */
function bytes(defaultText: string, min: number, max: number) {
  const toBytes = (value: string | number) => {
    const [, n, unit] = /^(\d+)(Ki|Mi|Gi|k|M|G)?$/.exec(String(value))!;
    return Number(n) * byteUnit[unit ?? '']!;
  };
  return z
    .union([z.int().min(0), z.string().regex(/^\d+(Ki|Mi|Gi|k|M|G)?$/)], bytesForm)
    .transform(toBytes)
    .refine(n => n >= min && n <= max, `a size from ${min} to ${max} bytes`)
    .prefault(defaultText);
}

const count = (fallback: number, min: number, max: number) =>
  z.number().int().min(min).max(max).default(fallback);

const addressForm = 'an IPv4 or IPv6 address';
const address = z.string(addressForm).refine(text => parseAddress(text) !== null, addressForm);
const portForm = 'a port from 0 to 65535';
const port = z.int(portForm).min(0, portForm).max(65_535, portForm);

/** A block that parseCidr takes; the text is kept. */
const cidr = z.string().superRefine((text, context) => {
  const problem = cidrProblem(text);
  if (problem === null) return;
  const { message, remedy } = problem;
  context.addIssue({ code: 'custom', message, params: { remedy }, input: text });
});

/** An address or a block, as a block. */
const addressOrCidr = z.string().transform((text, context): Cidr => {
  const single = parseAddress(text);
  const block = single === null ? parseCidr(text) : cidrOf(single, addressBits(single.family));
  if (block !== null) return block;
  refuse(context, { ...cidrProblem(text)!, input: text });
  return z.NEVER;
});

const reflectorUrl = z.string().transform((text, context): ReflectorUrl => {
  const url = parseReflectorUrl(text);
  if (!('message' in url)) return url;
  const { message, remedy } = url;
  context.addIssue({ code: 'custom', message, params: { remedy, isSecret: true }, input: text });
  return z.NEVER;
});

/** Asks reflectors which address they see for each source address. Absent: nobody is asked. */
const attestationSchema = z.strictObject({
  reflectors: z
    .array(reflectorUrl)
    .min(1)
    .max(8)
    .refine(urls => new Set(urls.map(({ text }) => text)).size === urls.length, 'each reflector once'),
  /** Addresses that may be seen beside those of the source address's own pool: of a NAT, of a network's own feature. */
  expected: z.array(addressOrCidr).max(256).default([]),
  /** From the start of one round to that of the next. */
  interval: duration('60s', 10_000, 3_600_000),
  /** One question, from the look-up of the reflector's name to the end of its answer. */
  timeout: duration('5s', 100, 60_000),
  /** Tell: the log, the metrics and /egress-addresses say so, and the gateway stays ready. */
  onMismatch: z.enum(['NotReady', 'Tell']).default('NotReady'),
});

/** Every limit of the gateway: its unit, default and range. README and the limits table are held against this by a test. */
export const limitsSchema = z
  .strictObject({
    sessions: count(20_000, 1, 1_000_000).describe('open sessions at once; more are answered 503'),
    sessionsPerClient: count(2_000, 1, 1_000_000).describe(
      'open sessions of one client address; more are answered 429',
    ),
    requestHeadBytes: bytes('32Ki', 1024, 1024 ** 2).describe(
      'request line and fields together; more is answered 431',
    ),
    requestHeadFields: count(128, 8, 2_000).describe('header fields of one request; more is answered 431'),
    requestHeadTimeout: duration('10s', 100, 300_000).describe(
      'first byte to last byte of a request head or SOCKS exchange; later is answered 408',
    ),
    rememberedHeads: count(256, 0, 65_536).describe(
      'CONNECT heads that are read once and remembered, in each thread: those up to 1,024 bytes that show no credentials',
    ),
    requestBodyBytes: bytes('0', 0, Number.MAX_SAFE_INTEGER).describe(
      'body of one plain HTTP request, streamed and never stored; more is answered 413; 0 is no limit',
    ),
    keepAliveTimeout: duration('60s', 100, 3_600_000).describe(
      'silence before the first byte and between two requests of a client connection',
    ),
    authentications: count(3, 1, 256).describe(
      'password checks at once; each takes a core for tens of milliseconds, and one of the four threads that write the log',
    ),
    authenticationQueue: count(256, 0, 100_000).describe('password checks that wait; more are answered 503'),
    authenticationCacheEntries: count(10_000, 0, 1_000_000).describe(
      'proved passwords remembered, as keyed hashes',
    ),
    authenticationCacheTime: duration('5m', 0, 86_400_000).describe(
      'how long a proved password is remembered',
    ),
    explainedDenials: count(50, 0, 10_000).describe(
      'denials a second for which the record names the nearest rule and what it lacks; policies over 1,000 rules have none',
    ),
    clusterSyncTimeout: duration('30s', 1000, 600_000).describe(
      'start to everything listed from the Kubernetes API; later the saved copy is taken, or the start fails',
    ),
    clusterStaleAfter: duration('24h', 60_000, 604_800_000).describe(
      'silence of the Kubernetes API after which no client is known by its pod address any more',
    ),
    clusterObjects: count(200_000, 1_000, 2_000_000).describe(
      'objects kept of one Kubernetes resource; more is an error, and the news of that resource stop',
    ),
    identityWait: duration('2s', 0, 30_000).describe(
      'how long an address of the pod network waits for its pod to be seen; later it is refused',
    ),
    identityWaiting: count(1_000, 0, 100_000).describe('clients that wait so; more are refused at once'),
    tokenReviews: count(16, 1, 1_000).describe('ServiceAccount tokens under review at once'),
    tokenReviewQueue: count(256, 0, 100_000).describe('tokens that wait for that; more are answered 503'),
    tokenReviewTimeout: duration('5s', 100, 60_000).describe('one review; later is answered 503'),
    tokenCacheEntries: count(10_000, 0, 1_000_000).describe('reviewed tokens remembered, as keyed hashes'),
    tokenCacheTime: duration('1h', 0, 86_400_000).describe(
      'how long a reviewed token is remembered at most; never past its own expiry',
    ),
    resolveTimeout: duration('5s', 100, 60_000).describe(
      'one look-up of a name, A and AAAA together; later is answered 504',
    ),
    resolvesInFlight: count(1_000, 1, 100_000).describe(
      'names being looked up at once; more are answered 503',
    ),
    dnsCacheEntries: count(10_000, 0, 1_000_000).describe('names remembered'),
    dnsMinimumTtl: duration('1s', 0, 3_600_000).describe('shortest time an answer is remembered'),
    dnsMaximumTtl: duration('5m', 0, 86_400_000).describe('longest time an answer is remembered'),
    dnsNegativeTtl: duration('5s', 0, 3_600_000).describe('how long "no such name" is remembered'),
    dnsAddressesPerName: count(64, 1, 1_000).describe(
      'addresses of one name that are looked at; the rest are ignored',
    ),
    connectTimeout: duration('10s', 100, 300_000).describe(
      'all attempts to connect to the destination together; later is answered 504',
    ),
    connectAttemptDelay: duration('250ms', 10, 10_000).describe(
      'head start of one address over the next (RFC 8305, section 5)',
    ),
    responseHeadTimeout: duration('60s', 100, 3_600_000).describe(
      'request sent to response head received, plain HTTP; later is answered 504',
    ),
    helloTimeout: duration('10s', 100, 300_000).describe(
      'first byte of a TLS ClientHello in a tunnel to its last; later the tunnel is decided as one without a server name',
    ),
    idleTimeout: duration('15m', 100, 604_800_000).describe(
      'a tunnel or body without a byte in either direction',
    ),
    halfCloseTimeout: duration('5m', 100, 604_800_000).describe(
      'the same for a tunnel of which one direction has ended; the shorter of the two holds',
    ),
    relayBufferBytes: bytes('64Ki', 4096, 16 * 1024 ** 2).describe(
      'bytes held for a slow reader, each direction; the pump holds at most 64Ki',
    ),
    relayPipeBytes: bytes('1Mi', 65_536, 16 * 1024 ** 2).describe(
      'the same for a direction that moves bulk through a pipe; read at the start. Without CAP_SYS_RESOURCE at most fs.pipe-max-size and altogether fs.pipe-user-pages-soft; past that bytes are copied',
    ),
    busyPollTime: duration('50us', 0, 1).describe(
      'how long a thread goes on asking for the answer to a few bytes of the one tunnel that chats before it sleeps, where answers come that soon; `0s` never, and never with one processor or under a CPU limit; read at the start',
    ),
    originConnections: count(64, 1, 10_000).describe(
      'connections to one plain HTTP destination for one client (by its identity, or its address where policy knows it by a block alone), in each thread',
    ),
    originQueue: count(256, 0, 100_000).describe(
      'plain HTTP requests that wait for one of those, connectTimeout at most; more are answered 503',
    ),
    originPools: count(1_000, 1, 100_000).describe(
      'plain HTTP destinations with kept connections, counted for each client, in each thread; the least recently used is closed',
    ),
    originIdleConnections: count(1_000, 1, 100_000).describe(
      'idle connections to all of them together, in each thread, and an eighth of the descriptors altogether; the one idle longest is closed; read at the start',
    ),
    originIdleTimeout: duration('30s', 100, 3_600_000).describe(
      'how long an idle connection to an origin is kept',
    ),
    progressInterval: duration('5m', 1000, 86_400_000).describe(
      'how often a long session writes an `event: "progress"` line',
    ),
    drainTimeout: duration('30s', 0, 3_600_000).describe('SIGTERM to the closing of what is still open'),
  })
  .prefault({});

const labelName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a lower-case name (RFC 1123 label)');

const kubernetesSchema = z.strictObject({
  /** Path of a kubeconfig. Absent: the service account of the pod the gateway runs in. */
  kubeconfig: z.string().min(1).optional(),
  /** Context of that kubeconfig; its current one by default. */
  context: z.string().min(1).optional(),
  /** The gateway's own namespace, for Leases; by default the service account's or the context's. */
  namespace: labelName.optional(),
  /** Name of this replica; by default the host name, which in a pod is the pod's. */
  replica: z
    .string()
    .max(253)
    .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'a lower-case name (RFC 1123 subdomain)')
    .optional(),
  /** Ranges of the pod network, beside those that Nodes tell: for networks that hand out addresses themselves. */
  podCidrs: z.array(cidr).default([]),
  /** Evaluate: core NetworkPolicy and ClusterNetworkPolicy count for destinations outside the cluster. */
  networkPolicies: z.enum(['Evaluate', 'Ignore']).default('Evaluate'),
  /** Absent: no ServiceAccount token is accepted. */
  tokens: z.strictObject({ audiences: z.array(z.string().min(1)).min(1).default(['sallyport']) }).optional(),
  /** A copy of the last good state, for a start without the API server. */
  savedState: z.strictObject({ file: z.string().min(1) }).optional(),
  /** Whether this gateway may write statuses, events and Leases. `Off` for a gateway that only reads. */
  status: z.enum(['Write', 'Off']).default('Write'),
  lease: z
    .strictObject({
      /** How long others leave a silent leader its lead. */
      duration: duration('15s', 2_000, 300_000),
      /** How long a leader tries to renew before it lets go; below `duration`. */
      renewDeadline: duration('10s', 1_000, 299_000),
      retryPeriod: duration('2s', 100, 60_000),
    })
    .refine(lease => lease.retryPeriod < lease.renewDeadline && lease.renewDeadline < lease.duration, {
      error: 'retryPeriod below renewDeadline below duration',
    })
    .prefault({}),
  /** The gateway takes addresses of EgressIPPools itself, by a Lease each, and announces them. Absent: it does not. */
  ownAddresses: z
    .strictObject({
      /** Interface of the host that takes them. */
      interface: z.string().regex(/^[^/\s.][^/\s]{0,14}$/, 'the name of an interface, such as eth0'),
      /** Pools whose addresses are taken; absent: all. */
      pools: z.array(z.string().min(1)).min(1).optional(),
      /** Silence of a holder after which another takes over. */
      leaseDuration: duration('4s', 3_000, 300_000),
      /** How often a holder renews; the kernel is told to keep the address until a second before the Lease lapses. */
      renewInterval: duration('1s', 200, 60_000),
    })
    .refine(({ leaseDuration, renewInterval }) => renewInterval * 3 <= leaseDuration, {
      error: 'a renewInterval of at most a third of leaseDuration',
    })
    .optional(),
  /** Name of the node this replica runs on, for spreading addresses over nodes and zones. */
  node: z.string().min(1).optional(),
  /** ConfigMap of the gateway's namespace that the computed NO_PROXY is written to; absent: not written. */
  injectionConfigMap: z.string().min(1).optional(),
});

/** `TCP_CA_NAME_MAX` of linux/tcp.h is 16 with the zero at the end. */
export const congestionControlSchema = z
  .string()
  .regex(/^[\w-]{1,15}$/, 'a name as in net.ipv4.tcp_allowed_congestion_control');

const listenerSchema = z.strictObject({
  name: labelName,
  address: address.default('127.0.0.1'),
  /** 0 takes a free port. */
  port,
  protocols: z
    .array(z.enum(['http', 'socks5']))
    .min(1)
    .default(['http', 'socks5']),
  /** Required asks every client for credentials; Optional asks only where they could change a denial. */
  authentication: z.enum(['Optional', 'Required']).default('Optional'),
  /** TCP congestion control towards the clients, by its name in the kernel. Absent: the host's. */
  congestionControl: congestionControlSchema.optional(),
});

/** `address` or `address:port`, IPv6 in brackets before a port. */
function isDnsServer(text: string): boolean {
  if (parseAddress(text) !== null) return true;
  const [, v6, v4, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const isAddress = parseAddress(v6 ?? v4 ?? '')?.family === (v6 === undefined ? 4 : 6);
  return isAddress && Number(port) >= 1 && Number(port) <= 65_535;
}

interface Socket {
  readonly path: (string | number)[];
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** Whether the operating system refuses to listen on both. A wildcard address takes the port of every other. */
function collide(one: Socket, other: Socket): boolean {
  const wildcard = [one, other].some(({ address }) => address === '0.0.0.0' || address === '::');
  return one.port !== 0 && one.port === other.port && (wildcard || one.address === other.address);
}

export const gatewayConfigSchema = z
  .strictObject({
    apiVersion: z.literal('sallyport.dev/v1alpha1'),
    kind: z.literal('GatewayConfig'),
    listeners: z
      .array(listenerSchema)
      .min(1)
      .superRefine((listeners, context) => {
        for (const [at, { name }] of listeners.entries()) {
          if (listeners.findIndex(other => other.name === name) === at) continue;
          const params = { remedy: 'give each listener a name of its own' };
          context.addIssue({
            code: 'custom',
            path: [at, 'name'],
            message: 'another listener has this name',
            params,
            input: name,
          });
        }
      }),
    admin: z.strictObject({ address: address.default('127.0.0.1'), port }).optional(),
    policies: z.strictObject({ files: z.array(z.string().min(1)).default([]) }).prefault({}),
    users: z.strictObject({ file: z.string().min(1) }).optional(),
    /** Absent: the gateway knows no cluster, and needs none. */
    kubernetes: kubernetesSchema.optional(),
    dns: z
      .strictObject({
        servers: z.array(z.string().refine(isDnsServer, 'an address, or address:port')).min(1),
      })
      .optional(),
    defaults: z.strictObject({ action: z.enum(['Allow', 'Deny']).default('Deny') }).prefault({}),
    guard: z
      .strictObject({
        /** Ranges refused unless a rule names them, beside the special-purpose ones: a cluster's pods, services, nodes. */
        cidrs: z.array(cidr).default([]),
        /** Drop: forbidden answers of a name are left out. Refuse: one forbidden answer refuses the name. */
        onForbiddenAnswer: z.enum(['Drop', 'Refuse']).default('Drop'),
        /**
         * Audit lets sessions reach guarded addresses and records `wouldDeny`: for moving in, never for staying. The
         * gateway's own listeners stay closed.
         */
        mode: z.enum(['Enforce', 'Audit']).default('Enforce'),
      })
      .prefault({}),
    egress: z
      .strictObject({
        sourceAddresses: z.array(address).default([]),
        /** EgressIPPools of this configuration, beside those of its policy files: name and the spec of the object. */
        pools: z.array(poolSpecSchema.extend({ name: nameSchema })).default([]),
        /** Pools of which this host must have an address for the gateway to be ready. */
        required: z.array(z.string().min(1)).default([]),
        attestation: attestationSchema.optional(),
      })
      .prefault({}),
    limits: limitsSchema,
    log: z
      .strictObject({
        format: z.literal('json').default('json'),
        /** `stdout`, or a file path (opened again on SIGHUP). */
        output: z.string().min(1).default('stdout'),
        /** What happens to new sessions while records cannot be written. */
        onUnwritable: z.enum(['Refuse', 'Drop']).default('Refuse'),
        queueBytes: bytes('16Mi', 65_536, 1024 ** 3),
        /** The gateway's own messages on standard error; auto is text on a terminal and json elsewhere. */
        messages: z.enum(['auto', 'text', 'json']).default('auto'),
      })
      .prefault({}),
    /**
     * `pump`: connections on the gateway's own event loop, bulk moved by splice(2). `streams`: Node's sockets. `auto`:
     * the pump where its system calls can be made, else streams.
     */
    relay: z.strictObject({ mode: z.enum(['auto', 'pump', 'streams']).default('auto') }).prefault({}),
    /**
     * Threads that accept, decide and relay, with a copy of the policy each. The control thread is one of up to two, and
     * none of three or more. `auto` is one for each processor.
     */
    threads: z.union([z.literal('auto'), z.int().min(1).max(256)]).default('auto'),
  })
  .superRefine(({ listeners, admin }, context) => {
    const sockets: Socket[] = listeners.map((listener, at) => ({
      ...listener,
      path: ['listeners', at, 'port'],
    }));
    if (admin) sockets.push({ ...admin, name: 'admin', path: ['admin', 'port'] });
    for (const [at, socket] of sockets.entries()) {
      const taken = sockets.slice(0, at).find(earlier => collide(earlier, socket));
      if (!taken) continue;
      const message = `port ${socket.port} is already taken by ${taken.name}`;
      context.addIssue({
        code: 'custom',
        path: socket.path,
        message,
        params: { remedy: 'give it a port of its own' },
        input: socket.port,
      });
    }
  });

export type GatewayConfig = z.output<typeof gatewayConfigSchema>;
export type Limits = z.output<typeof limitsSchema>;
export type ListenerConfig = z.output<typeof listenerSchema>;
export type AttestationConfig = z.output<typeof attestationSchema>;
