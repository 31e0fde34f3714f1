// A client's connection as a socket of Node's. Reading gives a byte machine what comes until it has a message, then
// pauses the socket and puts the rest back, so that no early byte is lost. It bounds the wait; the machine bounds the
// bytes.

import type { Socket } from 'node:net';
import { streamConnector } from '../exit/connect-stream.ts';
import type { Channel } from '../os/channel.ts';
import { endStreamWith, StreamChannel } from '../os/stream-channel.ts';
import { relay } from '../relay/relay.ts';
import type { RelayObserver, RelayOptions } from '../relay/relay-options.ts';
import { Failure } from '../session/failure.ts';
import { watchLeaving } from '../session/leaving.ts';
import { peerOf } from '../session/session.ts';
import {
  type ClientConnection,
  type Deadlines,
  goneFailure,
  lateFailure,
  type Step,
} from './client-connection.ts';

export class StreamClient implements ClientConnection<Socket> {
  readonly #socket: Socket;
  readonly address: string;
  readonly port: number;
  readonly connector = streamConnector;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { clientAddress, clientPort } = peerOf(socket);
    this.address = clientAddress;
    this.port = clientPort;
  }

  read<T>(step: Step<T>, deadlines: Deadlines): Promise<T> {
    return readMessage(this.#socket, step, deadlines);
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  refuse(bytes: Buffer): void {
    endStreamWith(this.#socket, bytes);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  watchLeaving(): ReturnType<typeof watchLeaving> {
    return watchLeaving(this.#socket);
  }

  relay(exit: Socket, observer: RelayObserver, options: RelayOptions): void {
    void relay(this.#socket, exit, observer, options).then(() => options.over());
  }

  intoChannel(): Channel {
    return new StreamChannel(this.#socket);
  }
}

function readMessage<T>(socket: Socket, step: Step<T>, deadlines: Deadlines): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let started = false;
  let timer = setTimeout(late, deadlines.firstByteMs);

  function stop(): void {
    clearTimeout(timer);
    socket.pause();
    socket.off('data', onData).off('end', onGone).off('close', onGone);
  }
  function fail(error: unknown): void {
    stop();
    reject(error);
  }
  function late(): void {
    fail(new Failure('request-timeout', lateFailure(started)));
  }
  function onGone(): void {
    fail(new Failure('client-gone', goneFailure(started)));
  }
  function onData(chunk: Buffer): void {
    if (!started) {
      started = true;
      clearTimeout(timer);
      timer = setTimeout(late, deadlines.messageMs);
    }
    try {
      const done = step(chunk);
      if (!done) return;
      stop();
      if (done.rest.length > 0) socket.unshift(done.rest);
      resolve(done.value);
    } catch (error) {
      fail(error);
    }
  }

  socket.on('data', onData).once('end', onGone).once('close', onGone);
  if (socket.closed || socket.readableEnded) onGone();
  else socket.resume();
  return promise;
}
