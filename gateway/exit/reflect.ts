// One question to a reflector: which address do you see? Asked from one source address, answered with an address or an
// error that says why not. No policy is asked and no permit needed: the gateway asks for itself, where its configuration
// says, and nothing of a client goes along. It judges no answer.

import type { ClientRequest, IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type IpAddress, parseAddress } from '../../config/policy/address.ts';
import { withoutMapping } from '../../config/policy/embedded-ipv4.ts';
import type { ReflectorUrl } from '../../config/reflector-url.ts';
import { request } from '../node-http.ts';
import { boundSocket, canBindWithoutPort } from '../os/bound-socket.ts';

export interface Question {
  readonly reflector: ReflectorUrl;
  /** The reflector's address, of the source's family. */
  readonly address: IpAddress;
  /** Where to ask from; null leaves it to the kernel. */
  readonly source: IpAddress | null;
}

/** More is no answer: an address takes 45 bytes, and JSON a few more. */
const mostBodyBytes = 256;
const mostHeadBytes = 8 * 1024;

/**
 * The address that the reflector sees; IPv4-mapped ones as IPv4.
 *
 * Threats: a reflector is as trusted as the network it is asked over. What it sends is bounded, read as one strictly
 * parsed address and nothing else; a redirect is not followed; a certificate is verified whatever the environment says.
 * @throws Error with a reason that repeats nothing of what was received; the signal's reason when it is aborted
 */
export async function reflect(question: Question, signal: AbortSignal): Promise<IpAddress> {
  const socket = socketFor(question);
  try {
    const response = await responseTo(ask(question, socket, signal));
    if (response.statusCode !== 200) throw new Error(`it answered ${response.statusCode}`);
    return addressIn(await bodyOf(response));
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    socket.destroy();
  }
}

function ask({ reflector }: Question, socket: Socket, signal: AbortSignal): ClientRequest {
  const asked = request({
    // A connection of its own, from no agent: an agent might look at proxy variables, or reuse another source's.
    createConnection: () => (reflector.scheme === 'https' ? secured(socket, reflector) : socket),
    path: reflector.path,
    headers: {
      host: reflector.authority,
      accept: 'text/plain, application/json;q=0.9',
      'accept-encoding': 'identity',
      'user-agent': 'sallyport',
    },
    maxHeaderSize: mostHeadBytes,
    signal,
  });
  // What fails once there is an answer, or the question was given up, is of no interest.
  asked.on('error', () => {});
  return asked.end();
}

function responseTo(asked: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    asked.on('response', resolve).on('error', reject);
    // Without an error where it answered 101.
    asked.on('close', () => reject(new Error('it closed the connection without an answer')));
  });
}

/** On its way from the source address; like dial.ts, but no other address is tried. */
function socketFor({ reflector, address, source }: Question): Socket {
  const to = { host: address.text, port: reflector.destination.port, autoSelectFamily: false };
  const socket = startConnecting(to, source);
  // A failure reaches the request, which reports it.
  return socket.on('error', () => {});
}

function startConnecting(
  to: { host: string; port: number; autoSelectFamily: boolean },
  source: IpAddress | null,
) {
  if (source === null) return connect(to);
  if (!canBindWithoutPort) return connect({ ...to, localAddress: source.text });
  return boundSocket(source, {}).connect(to);
}

/** The name of the URL is verified; an address stands in no server name (RFC 6066 section 3). */
function secured(socket: Socket, { destination: { kind, host } }: ReflectorUrl): Socket {
  return connectTls({
    socket,
    host,
    ...(kind === 'name' && { servername: host }),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  });
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > mostBodyBytes) throw new Error(`it answered more than ${mostBodyBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('latin1');
}

function addressIn(body: string): IpAddress {
  const text = body.trim();
  const address = parseAddress(text.startsWith('{') ? memberOf(text) : text);
  if (address === null) throw new Error('its answer is no address');
  return withoutMapping(address);
}

/** `address` or `ip` of a JSON object; empty where it has neither, or two that differ. */
function memberOf(text: string): string {
  try {
    const { address, ip } = JSON.parse(text) as Record<string, unknown>;
    const found = address ?? ip;
    return typeof found === 'string' && (ip ?? found) === found ? found : '';
  } catch {
    return '';
  }
}
