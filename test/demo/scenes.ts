// The demo's scenes: what a workload tries, what must come of it, and what the viewer is shown.
// A scene that goes otherwise throws; none of them decides what is right by what the gateway answered.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import tls from 'node:tls';
import {
  basic,
  connect,
  connectHead,
  field,
  get,
  type ResponseHead,
  readHead,
} from '../support/http-client.ts';
import { socksConnect } from '../support/socks-client.ts';
import { users } from './policy.ts';
import { type Stage, sourceAddress, workloads } from './stage.ts';

export interface Scene {
  title: string;
  verdict: 'allow' | 'deny';
  /** Plays the scene and says what happened. */
  play(stage: Stage): Promise<string[]>;
}

const refusal = (head: ResponseHead) => [
  `HTTP/1.1 ${head.status} ${head.reason}`,
  `Proxy-Status: ${field(head, 'proxy-status')}`,
];

/** The workload sends over the operator's TLS and checks the origin's certificate: the gateway sees neither. */
async function payOverTls(stage: Stage): Promise<string[]> {
  const client = await stage.viaProxy(workloads.billing);
  client.send(connectHead(`api.payments.example:${stage.ports.https}`));
  const head = await readHead(client);
  assert.equal(head.status, 200);
  const secure = tls.connect({ socket: client.release(), servername: 'api.payments.example', ca: stage.ca });
  await once(secure, 'secureConnect');
  secure.end('POST /pay HTTP/1.0\r\nContent-Length: 0\r\n\r\n');
  const answer = Buffer.concat(await secure.toArray()).toString();
  assert.match(answer, /paid 12\.00$/);
  return [
    `HTTP/1.1 ${head.status} ${head.reason}`,
    'certificate verified end to end; the origin said "paid 12.00"',
  ];
}

async function readNews(stage: Stage): Promise<string[]> {
  const client = await stage.viaProxy(workloads.web);
  const response = await get(client, `http://news.example:${stage.ports.http}/today`);
  assert.equal(response.status, 200);
  const seen = JSON.parse(response.body.toString());
  assert.equal(seen.url, '/today');
  assert.equal(seen.peer.address, sourceAddress);
  const length = `${response.body.length} bytes`;
  return [
    `HTTP/1.1 ${response.status} ${response.reason}, ${length}; the origin saw it come from ${sourceAddress}`,
  ];
}

async function deniedByName(stage: Stage): Promise<string[]> {
  const client = await stage.viaProxy(workloads.web);
  const response = await connect(client, `api.payments.example:${stage.ports.https}`);
  assert.equal(response.status, 403);
  assert.match(response.reason, /no-payments/);
  return refusal(response);
}

async function deniedByAddress(stage: Stage): Promise<string[]> {
  const client = await stage.viaProxy(workloads.billing);
  const response = await connect(client, `backup.partner.example:${stage.ports.https}`);
  assert.equal(response.status, 403);
  assert.match(field(response, 'proxy-status') ?? '', /destination_ip_prohibited/);
  return refusal(response);
}

async function socksEcho(stage: Stage): Promise<string[]> {
  const client = await stage.viaSocks(workloads.billing);
  const reply = await socksConnect(client, 'ledger.example', stage.ports.echo);
  assert.equal(reply.code, 0);
  assert.equal((await client.send('hello').read(5)).toString(), 'hello');
  await client.end().readAll();
  return ['SOCKS5 reply 0 (succeeded); "hello" came back'];
}

async function askedForPassword(stage: Stage): Promise<string[]> {
  const client = await stage.viaProxy(workloads.operator);
  const response = await connect(client, `ledger.example:${stage.ports.echo}`);
  assert.equal(response.status, 407);
  assert.match(field(response, 'proxy-authenticate') ?? '', /^Basic /);
  return refusal(response);
}

async function withPassword(stage: Stage): Promise<string[]> {
  const client = await stage.viaProxy(workloads.operator);
  const authority = `ledger.example:${stage.ports.echo}`;
  const response = await connect(client, authority, basic('olga', users.olga));
  assert.equal(response.status, 200);
  assert.equal((await client.send('hello').read(5)).toString(), 'hello');
  await client.end().readAll();
  return [`HTTP/1.1 ${response.status} ${response.reason}; "hello" came back`];
}

const { billing, web, operator } = workloads;

export const scenes: Scene[] = [
  { title: `billing (${billing}) pays over HTTPS, in a CONNECT tunnel`, verdict: 'allow', play: payOverTls },
  { title: `web (${web}) reads the news over plain HTTP`, verdict: 'allow', play: readNews },
  { title: `web tries the payment service: denied by name`, verdict: 'deny', play: deniedByName },
  {
    title: 'billing calls a partner whose name resolves to 169.254.169.254: denied by address',
    verdict: 'deny',
    play: deniedByAddress,
  },
  { title: 'billing writes to the ledger through SOCKS5', verdict: 'allow', play: socksEcho },
  {
    title: `somebody (${operator}) tries the ledger: asked for a password`,
    verdict: 'deny',
    play: askedForPassword,
  },
  { title: 'the same address, as user olga', verdict: 'allow', play: withPassword },
];
