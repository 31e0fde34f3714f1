// Ways out that do not lead through the gateway, tried one by one: TCP connections and DNS queries straight to a target,
// and CONNECT through a proxy beside them. It reads no proxy variable, sends a target nothing, and judges nothing.

import { randomInt } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { type Destination, formatAuthority } from '../../config/policy/destination.ts';
import { request } from '../node-http.ts';

/** How an attempt ended. Only the first is a way out. */
type Ending =
  | 'connected'
  /** No answer in time: the usual mark of a policy that drops. */
  | 'timeout'
  /** RST, or ICMP "port unreachable": a policy that rejects, or the target itself, and then the way is open. */
  | 'refused'
  | 'reset'
  /** No route, or ICMP "unreachable" or "prohibited". */
  | 'unreachable'
  /** The own kernel or its filter refused. */
  | 'prohibited'
  /** Nothing was tried: the system lacked something, and `error` says what. */
  | 'untried';

export interface Attempt {
  /** `address:port`, IPv6 in brackets. */
  readonly to: string;
  readonly ending: Ending;
  /** The system's code, such as `EMFILE`; null where the ending says it. */
  readonly error: string | null;
}

/** What a proxy said to CONNECT; `error` where it said nothing. */
export type ProxyAnswer = { readonly status: number; readonly reason: string } | { readonly error: string };

const endings: Readonly<Record<string, Ending>> = {
  ETIMEDOUT: 'timeout',
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EHOSTUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETUNREACH: 'unreachable',
  ENETDOWN: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  EACCES: 'prohibited',
  EPERM: 'prohibited',
};

function failed(to: string, error: NodeJS.ErrnoException): Attempt {
  const code = error.code ?? error.message;
  const ending = endings[code] ?? 'untried';
  return { to, ending, error: ending === 'untried' ? code : null };
}

/** Of a name; the rest are not tried. */
const mostAddresses = 8;

/**
 * The addresses of a destination by the system's resolver, as programs ask it: hosts file, search list and all.
 * @throws the resolver's error, or one of a look-up that took too long
 */
export async function addressesOf({ host, address }: Destination, timeoutMs: number): Promise<string[]> {
  if (address !== null) return [address.text];
  const found = await within(lookup(host, { all: true }), timeoutMs);
  return [...new Set(found.map(each => each.address))].slice(0, mostAddresses);
}

async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(Object.assign(new Error('no answer in time'), { code: 'ETIMEOUT' })),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function textOf(address: string, port: number): string {
  return isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Connects, and closes at once. */
export function tryTcp(address: string, port: number, timeoutMs: number): Promise<Attempt> {
  const to = textOf(address, port);
  return new Promise(resolve => {
    const socket = connect({ host: address, port });
    const end = (attempt: Attempt) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(attempt);
    };
    const timer = setTimeout(() => end({ to, ending: 'timeout', error: null }), timeoutMs);
    socket.on('connect', () => end({ to, ending: 'connected', error: null }));
    socket.on('error', error => end(failed(to, error)));
  });
}

/** Datagrams get lost, and a lost one must not look like a closed way. */
const sendings = 3;

/** Asks a server by UDP for the name servers of the root (RFC 1035 section 4.1), which names nobody. Any answer counts. */
export function tryDns(address: string, port: number, timeoutMs: number): Promise<Attempt> {
  const to = textOf(address, port);
  const id = randomInt(65_536);
  return new Promise(resolve => {
    const socket: UdpSocket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4');
    const timers: NodeJS.Timeout[] = [];
    const end = (attempt: Attempt) => {
      for (const timer of timers) clearTimeout(timer);
      socket
        .removeAllListeners()
        .on('error', () => {})
        .close();
      resolve(attempt);
    };
    socket.on('error', error => end(failed(to, error)));
    socket.on('message', answer => {
      if (answer.length >= 12 && answer.readUInt16BE(0) === id) end({ to, ending: 'connected', error: null });
    });
    socket.on('connect', () => {
      const query = rootQuery(id);
      const send = () => socket.send(query, error => error && end(failed(to, error)));
      for (let at = 0; at < sendings; at++) timers.push(setTimeout(send, (timeoutMs * at) / sendings));
      timers.push(setTimeout(() => end({ to, ending: 'timeout', error: null }), timeoutMs));
    });
    // A connected socket hears of ICMP errors, and takes answers of this server alone.
    socket.connect(port, address);
  });
}

/** Header with recursion desired and one question: the root, NS, IN. */
function rootQuery(id: number): Buffer {
  const query = Buffer.alloc(17);
  query.writeUInt16BE(id, 0);
  query.writeUInt16BE(0x0100, 2);
  query.writeUInt16BE(1, 4);
  query.writeUInt16BE(2, 13);
  query.writeUInt16BE(1, 15);
  return query;
}

/** CONNECT through an HTTP proxy (RFC 9110 section 9.3.6), with the user and password of its URL. */
export function askProxy(proxy: URL, destination: Destination, timeoutMs: number): Promise<ProxyAnswer> {
  const authority = formatAuthority(destination);
  return new Promise(resolve => {
    const asked = request({
      // A connection of our own: an agent might look at proxy variables.
      createConnection: () => connect(portOf(proxy), hostOf(proxy)),
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...credentialsOf(proxy) },
    });
    const end = (answer: ProxyAnswer) => {
      clearTimeout(timer);
      asked.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end({ error: 'timeout' }), timeoutMs);
    asked.on('connect', ({ statusCode, statusMessage }, socket) => {
      socket.destroy();
      end({ status: statusCode ?? 0, reason: statusMessage ?? '' });
    });
    asked.on('error', (error: NodeJS.ErrnoException) => end({ error: error.code ?? error.message }));
    asked.end();
  });
}

const portOf = ({ port }: URL) => Number(port || 80);
const hostOf = ({ hostname }: URL) => hostname.replace(/^\[(.*)\]$/, '$1');

function credentialsOf({ username, password }: URL): { 'proxy-authorization'?: string } {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
