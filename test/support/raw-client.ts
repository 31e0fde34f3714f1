// A client that says exactly the bytes it is told to, from the loopback address it is told to, and shows what came back.
// It understands no protocol; http-client.ts and socks-client.ts build on it.

import { once } from 'node:events';
import net from 'node:net';
import type { ExecutionContext } from 'ava';
import { within } from './waiting.ts';

export interface ConnectOptions {
  port: number;
  host?: string;
  /** Local address to leave from: another address is another client. By default one that no other connection has. */
  from?: string;
}

/** How the other side ended the connection. */
export type Ending = 'end' | 'reset';

export class RawClient {
  readonly socket: net.Socket;
  #received: Buffer[] = [];
  #ending: Ending | null = null;
  /** The client's own end, as it was when it connected. */
  readonly local: { address: string; port: number };
  #changed: () => void = () => {};

  readonly #listeners = {
    data: (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#changed();
    },
    end: () => this.#finish('end'),
    error: () => this.#finish('reset'),
    close: () => this.#finish('reset'),
  };

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.local = { address: socket.localAddress ?? '', port: socket.localPort ?? 0 };
    for (const [event, listener] of Object.entries(this.#listeners)) socket.on(event, listener);
  }

  #finish(ending: Ending): void {
    this.#ending ??= ending;
    this.#changed();
  }

  /** Everything received and not yet taken. */
  get pending(): Buffer {
    const whole = Buffer.concat(this.#received);
    this.#received = [whole];
    return whole;
  }

  #take(count: number): Buffer {
    const whole = this.pending;
    this.#received = [whole.subarray(count)];
    return whole.subarray(0, count);
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** One write, and in practice one segment, for each byte. */
  async sendByteByByte(bytes: string | Uint8Array): Promise<this> {
    for (const byte of typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes) {
      this.socket.write(Uint8Array.of(byte));
      await new Promise(resolve => setImmediate(resolve));
    }
    return this;
  }

  /** Ends the sending direction (FIN) and goes on reading. */
  end(): this {
    this.socket.end();
    return this;
  }

  /** Hands the socket over, for TLS inside a tunnel: from here on this client reads nothing. */
  release(): net.Socket {
    for (const [event, listener] of Object.entries(this.#listeners)) this.socket.off(event, listener);
    return this.socket.pause();
  }

  /** Ends with RST. While a FIN is on its way Node would leak the handle instead (uv_tcp_close_reset: EINVAL). */
  reset(): void {
    const { socket } = this;
    if (socket.writableEnded && !socket.writableFinished)
      socket.once('finish', () => socket.resetAndDestroy());
    else socket.resetAndDestroy();
  }

  async #until<T>(found: () => T | undefined, what: string): Promise<T> {
    const seen = () => JSON.stringify(this.pending.subarray(0, 400).toString('latin1'));
    const search = new Promise<T>((resolve, reject) => {
      this.#changed = () => {
        const result = found();
        if (result !== undefined) resolve(result);
        else if (this.#ending) reject(new Error(`${this.#ending} before ${what}; seen: ${seen()}`));
      };
      this.#changed();
    });
    return within(search, what, seen);
  }

  /** Exactly `count` bytes. */
  read(count: number): Promise<Buffer> {
    return this.#until(
      () => (this.pending.length >= count ? this.#take(count) : undefined),
      `${count} bytes`,
    );
  }

  /** Everything up to and with `mark`. */
  async readUntil(mark: string): Promise<string> {
    const taken = await this.#until(() => {
      const at = this.pending.indexOf(mark, 0, 'latin1');
      return at < 0 ? undefined : this.#take(at + mark.length);
    }, JSON.stringify(mark));
    return taken.toString('latin1');
  }

  /** Everything until the other side ends or resets. */
  async readAll(): Promise<Buffer> {
    await this.ending();
    return this.#take(this.pending.length);
  }

  /** Waits until the other side has ended or reset. */
  ending(): Promise<Ending> {
    return this.#until(() => this.#ending ?? undefined, 'the end of the connection');
  }

  async close(): Promise<void> {
    this.socket.destroy();
  }
}

let connections = 0;

/**
 * An end that no other connection of this process has: an address of its own, or, where the test says the address, a
 * port below those that Linux gives out by itself (32768 and up). The kernel's own choice of a port tells connections
 * apart neither at one time (several may have it that lead to different listeners) nor one after the other.
 */
function ownEnd(host: string, from: string | undefined): { localAddress?: string; localPort?: number } {
  connections += 1;
  const localPort = 10_000 + (connections % 22_000);
  if (net.isIPv6(host)) return { localPort };
  if (from !== undefined) return { localAddress: from, localPort };
  return {
    localAddress: `127.${100 + (connections >> 16)}.${(connections >> 8) & 255}.${connections & 255}`,
  };
}

/** Connects; the caller closes. */
export async function openRaw(options: ConnectOptions): Promise<RawClient> {
  const { port, host = '127.0.0.1', from } = options;
  const end = ownEnd(host, from);
  const socket = net.connect({ port, host, allowHalfOpen: true, noDelay: true, ...end });
  await within(once(socket, 'connect'), `a connection to ${host}:${port}`);
  return new RawClient(socket);
}

/** Connects; closed when the test ends. */
export async function connectRaw(t: ExecutionContext, options: ConnectOptions): Promise<RawClient> {
  const client = await openRaw(options);
  t.teardown(() => client.close());
  return client;
}
