// Clients whose requests need no more than DirectHead reads: one connection, request after request, without Node's
// HTTP server between. The first request that needs more takes the connection to Node's parser, for good.
// Parsing, admission and records are those of every plain request; it chooses nothing of its own.

import type { Limits } from '../../config/gateway-config.ts';
import { admit } from '../admission/admit.ts';
import { forwardToOrigin } from '../forward-to-origin.ts';
import type { Gateway } from '../gateway.ts';
import type { Channel, ChannelUser } from '../os/channel.ts';
import { noBytes } from '../os/no-bytes.ts';
import type { Failure } from '../session/failure.ts';
import { Leaving } from '../session/leaving.ts';
import type { Peer, Session } from '../session/session.ts';
import { type Waiting, Waits } from '../session/waits.ts';
import { type DirectFields, type DirectHead, readDirectHead } from './direct-head.ts';
import { DirectReply, type ReplyOptions } from './direct-reply.ts';
import { httpRefusal, httpRefusalBytes } from './http-replies.ts';
import type { ProxyRequest } from './proxy-request.ts';
import { admissionRequest, takeRequest } from './take-request.ts';

/** A connection on its way to Node's parser, wherever that is. */
interface HandedOver {
  /** What is to be read first. */
  readonly unread: Buffer;
  /** The connection's first session, where no request has come before; else null. */
  readonly first: Session | null;
  /** Known since accept: a client that has reset cannot be asked for its address any more. */
  readonly peer: Peer;
}

type HandOver<Kind extends Channel> = (channel: Kind, handed: HandedOver) => void;

/** The direct clients of one listener. */
export class DirectClients<Kind extends Channel = Channel> {
  readonly gateway: Gateway;
  readonly listenerName: string;
  readonly handOver: HandOver<Kind>;
  readonly waits = new Waits();
  readonly #open = new Set<DirectClient<Kind>>();

  constructor(gateway: Gateway, listenerName: string, handOver: HandOver<Kind>) {
    this.gateway = gateway;
    this.listenerName = listenerName;
    this.handOver = handOver;
  }

  get limits(): Limits {
    return this.gateway.holder.current().config.limits;
  }

  /** Serves a connection whose first session was begun at accept. */
  serve(channel: Kind, first: Session): void {
    const client = new DirectClient(this, channel, first);
    this.#open.add(client);
    this.waits.add(client);
    channel.resume();
  }

  forget(client: DirectClient<Kind>): void {
    this.#open.delete(client);
    this.waits.remove(client);
  }

  /** Closes the connections that wait for a request. */
  closeIdle(): void {
    for (const client of this.#open) client.closeIfIdle();
  }
}

/** What is being served on a connection. */
interface Serving {
  session: Session;
  leaving: Leaving;
  reply: DirectReply;
}

class DirectClient<Kind extends Channel> implements Waiting, ChannelUser {
  waitsUntil = Infinity;
  readonly #clients: DirectClients<Kind>;
  readonly #channel: Kind;
  readonly #address: string;
  readonly #port: number;
  /** Begun at accept, until its request has come. */
  #first: Session | null;
  #serving: Serving | null = null;
  /** What came while a request was served. */
  #pending: Buffer | null = null;
  #known: DirectFields | null = null;
  #before: ProxyRequest | null = null;
  #isEnded = false;
  #isClosing = false;
  #isStalled = false;
  #isWaiting = false;

  constructor(clients: DirectClients<Kind>, channel: Kind, first: Session) {
    this.#clients = clients;
    this.#channel = channel;
    this.#address = first.clientAddress;
    this.#port = first.clientPort;
    this.#first = first;
    first.protocol = 'http';
    first.carriedBy(channel);
    channel.user = this;
  }

  closeIfIdle(): void {
    if (this.#serving === null && this.#first === null) this.#channel.destroy();
  }

  /** No next request has come in time. */
  waitedTooLong(): void {
    this.#channel.destroy();
  }

  received(bytes: Buffer): void {
    if (this.#isClosing) return;
    if (this.#serving === null) this.#take(bytes);
    else this.#keep(bytes);
  }

  /** Paused, the connection bounds what comes, and tells no end before the rest was read. */
  #keep(bytes: Buffer): void {
    this.#pending = this.#pending === null ? Buffer.from(bytes) : Buffer.concat([this.#pending, bytes]);
    this.#channel.pause();
  }

  #take(bytes: Buffer): void {
    const head = readDirectHead(bytes, this.#clients.limits.requestHeadBytes, this.#known);
    if (head === null) {
      this.#handOver(bytes);
      return;
    }
    this.#known = head.fields;
    this.waitsUntil = Infinity;
    this.#setWaiting(false);
    if (head.end < bytes.length) this.#keep(bytes.subarray(head.end));
    void this.#serve(head);
  }

  #setWaiting(isWaiting: boolean): void {
    if (this.#isWaiting === isWaiting) return;
    this.#isWaiting = isWaiting;
    const { waitingConnections } = this.#clients.gateway.sessions;
    if (isWaiting) waitingConnections.add(this.#address, this.#channel);
    else waitingConnections.remove(this.#address, this.#channel);
  }

  #forget(): void {
    this.#setWaiting(false);
    this.#clients.forget(this);
  }

  #handOver(bytes: Buffer): void {
    this.#forget();
    const peer = { clientAddress: this.#address, clientPort: this.#port };
    this.#clients.handOver(this.#channel, { unread: Buffer.from(bytes), first: this.#first, peer });
  }

  async #serve(head: DirectHead): Promise<void> {
    const { gateway } = this.#clients;
    const session = this.#begin();
    const leaving = new Leaving();
    const reply = new DirectReply(this.#channel, this.#replyOptions(head.method));
    this.#serving = { session, leaving, reply };
    try {
      const request = this.#parse(session, head);
      const permit = await admit(gateway.admission, session, admissionRequest(head.method, request), leaving);
      gateway.sessions.opened(session);
      const { method } = head;
      const { path, fields } = request;
      const trailers = noTrailers;
      await forwardToOrigin({
        gateway,
        session,
        permit,
        method,
        path,
        fields,
        body: null,
        trailers,
        leaving,
        reply,
      });
    } catch (error) {
      this.#answerFailure(head.method, session, reply, session.fail(error));
    } finally {
      session.finish();
    }
    this.#serving = null;
    this.#isClosing ||= reply.isLast;
    this.#next();
  }

  #parse(session: Session, { method, target, fields }: DirectHead): ProxyRequest {
    const head = { method, url: target, httpVersion: '1.1', rawHeaders: fields.raw as string[] };
    const request = takeRequest(session, 'http', head, this.#before);
    this.#before = request;
    return request;
  }

  #begin(): Session {
    const session = this.#first ?? this.#beginLater();
    this.#first = null;
    return session;
  }

  #beginLater(): Session {
    const session = this.#clients.gateway.sessions.begin(
      this.#clients.listenerName,
      this.#address,
      this.#port,
    );
    session.carriedBy(this.#channel);
    return session;
  }

  #replyOptions(method: string): ReplyOptions {
    return {
      method,
      keepAliveSeconds: Math.floor(this.#clients.limits.keepAliveTimeout / 1000),
      isLast: () => this.#clients.gateway.sessions.draining,
      stalled: () => this.#stalled(),
    };
  }

  /** The response is with the kernel, or was given up. */
  #next(): void {
    const channel = this.#channel;
    this.#moves();
    if (channel.closed) return;
    if (this.#isClosing) channel.endWith(noBytes);
    else if (this.#pending !== null) {
      const bytes = this.#pending;
      this.#pending = null;
      this.#take(bytes);
    } else if (this.#isEnded) channel.end();
    else {
      this.waitsUntil = performance.now() + this.#clients.limits.keepAliveTimeout;
      this.#setWaiting(true);
      if (channel.paused) channel.resume();
    }
  }

  /** One answer, or, where the response has begun, a cut connection: a client must not take half for the whole. */
  #answerFailure(method: string, session: Session, reply: DirectReply, failure: Failure): void {
    this.#isClosing = true;
    if (this.#channel.closed) return;
    if (reply.begun) {
      this.#channel.destroy();
      return;
    }
    const refusal = httpRefusal(failure, session.id);
    session.http!.status = refusal.status;
    this.#channel.endWith(httpRefusalBytes(method === 'HEAD' ? { ...refusal, body: '' } : refusal));
  }

  /** The client takes nothing: for as long as a silence may last. */
  #stalled(): void {
    if (this.#isStalled) return;
    this.#isStalled = true;
    this.#channel.watchStuck(this.#clients.limits.idleTimeout);
  }

  #moves(): void {
    if (!this.#isStalled) return;
    this.#isStalled = false;
    this.#channel.watchStuck(0);
  }

  unblocked(): void {
    this.#moves();
    this.#serving?.reply.drained();
  }

  stuck(): void {
    this.#serving?.session.close('idle-timeout');
    this.#channel.destroy();
  }

  ended(): void {
    this.#isEnded = true;
    if (this.#serving === null) this.#channel.end();
  }

  closed(): void {
    this.#forget();
    if (this.#serving !== null) {
      this.#serving.session.close('client-gone');
      this.#serving.leaving.leave();
    }
    this.#first?.close('client-gone', 'the client left in the middle of its request');
    this.#first?.finish();
  }
}

const noTrailers = () => [];
