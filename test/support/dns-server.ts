// An authoritative DNS server on loopback, UDP and TCP on one port, whose answers a test sets and may change.
// It never recurses: a name nobody set does not exist (NXDOMAIN).

import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import dnsPacket from 'dns-packet';
import type { Closable } from './lifetime.ts';

interface DnsAnswer {
  a?: string[];
  aaaa?: string[];
  /** The alias; addresses of the target follow when the server knows it. */
  cname?: string;
  ttl?: number;
  rcode?: 'NXDOMAIN' | 'SERVFAIL' | 'REFUSED';
  /** Say nothing: the asker times out. */
  silent?: boolean;
  /** Over UDP answer empty with TC set, so that the asker comes again over TCP. */
  truncate?: boolean;
}

interface DnsQuery {
  name: string;
  type: string;
  transport: 'udp' | 'tcp';
  /** 1 for the first query of this name and type. */
  count: number;
}

type DnsBehaviour = DnsAnswer | ((query: DnsQuery) => DnsAnswer | Promise<DnsAnswer>);

export interface DnsServer extends Closable {
  port: number;
  /** As the gateway's `dns.servers` wants it. */
  server: string;
  set(name: string, behaviour: DnsBehaviour): void;
  /** How often a name was asked for, of one type or of all. */
  queries(name: string, type?: string): number;
}

const rcodes = { NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5 };

class Zone {
  readonly #behaviours = new Map<string, DnsBehaviour>();
  readonly #counts = new Map<string, number>();
  /** Of queries over UDP: who waits too long on a busy machine sends the same one again, which is no other query. */
  readonly #ids = new Set<string>();

  set(name: string, behaviour: DnsBehaviour): void {
    this.#behaviours.set(name.toLowerCase(), behaviour);
  }

  queries(name: string, type?: string): number {
    const types = type === undefined ? ['A', 'AAAA'] : [type];
    return types.reduce((sum, each) => sum + (this.#counts.get(`${each} ${name.toLowerCase()}`) ?? 0), 0);
  }

  async answer(name: string, type: string, transport: 'udp' | 'tcp', id: number): Promise<DnsAnswer> {
    const key = `${type} ${name.toLowerCase()}`;
    const isRepeated = transport === 'udp' && this.#ids.has(`${id} ${key}`);
    if (transport === 'udp') this.#ids.add(`${id} ${key}`);
    const count = (this.#counts.get(key) ?? 0) + (isRepeated ? 0 : 1);
    this.#counts.set(key, count);
    return this.#behave({ name, type, transport, count });
  }

  async #behave(query: DnsQuery): Promise<DnsAnswer> {
    const behaviour = this.#behaviours.get(query.name.toLowerCase()) ?? { rcode: 'NXDOMAIN' };
    return typeof behaviour === 'function' ? behaviour(query) : behaviour;
  }

  /** Answer records for a question, following aliases inside the zone. */
  async records(name: string, type: string, answer: DnsAnswer): Promise<dnsPacket.Answer[]> {
    const ttl = answer.ttl ?? 60;
    const addresses = (type === 'A' ? answer.a : type === 'AAAA' ? answer.aaaa : []) ?? [];
    const own = addresses.map(data => ({ type, name, ttl, data }) as dnsPacket.Answer);
    if (answer.cname === undefined) return own;
    const target = await this.#behave({ name: answer.cname, type, transport: 'udp', count: 1 });
    return [
      { type: 'CNAME', name, ttl, data: answer.cname },
      ...(await this.records(answer.cname, type, target)),
    ];
  }
}

/** The response to one packet, or null where the server keeps silent. */
async function respond(zone: Zone, packet: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | null> {
  const query = dnsPacket.decode(packet);
  const question = query.questions?.[0];
  if (question === undefined) return null;
  const answer = await zone.answer(question.name, question.type, transport, query.id ?? 0);
  if (answer.silent) return null;
  const truncated = transport === 'udp' && answer.truncate === true;
  const flags = dnsPacket.AUTHORITATIVE_ANSWER | (truncated ? dnsPacket.TRUNCATED_RESPONSE : 0);
  return dnsPacket.encode({
    type: 'response',
    id: query.id ?? 0,
    flags: flags | (answer.rcode ? rcodes[answer.rcode] : 0),
    questions: [question],
    answers: truncated ? [] : await zone.records(question.name, question.type, answer),
  });
}

function serveUdp(zone: Zone, socket: dgram.Socket): void {
  socket.on('message', async (packet, peer) => {
    const response = await respond(zone, packet, 'udp');
    if (response !== null) socket.send(response, peer.port, peer.address, () => {});
  });
}

/** Length-prefixed messages (RFC 1035, section 4.2.2). */
function serveTcp(zone: Zone, connection: net.Socket): void {
  let pending = Buffer.alloc(0);
  connection.on('error', () => {});
  connection.on('data', async (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const end = 2 + pending.readUInt16BE(0);
      const packet = pending.subarray(2, end);
      pending = pending.subarray(end);
      const response = await respond(zone, packet, 'tcp');
      if (response === null) continue;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(response.length);
      connection.write(Buffer.concat([length, response]));
    }
  });
}

/** Takes one free port for both transports; the UDP port the system gives may be taken on TCP, so it tries again. */
async function bindBoth(udp: () => dgram.Socket, tcp: net.Server): Promise<dgram.Socket> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const socket = udp();
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    try {
      tcp.listen(socket.address().port, '127.0.0.1');
      await once(tcp, 'listening');
      return socket;
    } catch {
      socket.close();
    }
  }
  throw new Error('no port free on both UDP and TCP');
}

export async function startDnsServer(): Promise<DnsServer> {
  const zone = new Zone();
  const connections = new Set<net.Socket>();
  const tcp = net.createServer(connection => {
    connections.add(connection);
    serveTcp(zone, connection);
  });
  const udp = await bindBoth(() => dgram.createSocket('udp4'), tcp);
  serveUdp(zone, udp);
  const { port } = udp.address();
  return {
    port,
    server: `127.0.0.1:${port}`,
    set: (name, behaviour) => zone.set(name, behaviour),
    queries: (name, type) => zone.queries(name, type),
    async close() {
      for (const connection of connections) connection.destroy();
      await Promise.all([new Promise<void>(done => udp.close(done)), new Promise(done => tcp.close(done))]);
    },
  };
}
