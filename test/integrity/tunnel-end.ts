// One end of a tunnel, client or origin: sends what its plan says, holds every byte that comes against what must come,
// stops reading, ends or resets when its turn is. It knows nothing of proxies and judges nothing: it tells what it saw.

import type { Socket } from 'node:net';
import type { Payload } from './payload.ts';
import type { EndPlan } from './plan.ts';

export interface EndReport {
  tunnel: number;
  sent: number;
  received: number;
  /** Position of the first wrong byte, or null. */
  wrongAt: number | null;
  /** How the other side ended: in order, or not. */
  ending: 'end' | 'reset';
  /** Code of the socket's error, if there was one. */
  error: string | null;
}

export interface EndOptions {
  tunnel: number;
  plan: EndPlan;
  /** What this end sends and what must come. */
  sends: Pick<Payload, 'slice'>;
  receives: Pick<Payload, 'wrongAt'>;
  /** Bytes that went out with the request. */
  alreadySent: number;
}

export class TunnelEnd {
  readonly #socket: Socket;
  readonly #plan: EndPlan;
  readonly #options: EndOptions;
  readonly #report: EndReport;
  #started = false;

  constructor(socket: Socket, options: EndOptions) {
    this.#socket = socket;
    this.#plan = options.plan;
    this.#options = options;
    const { tunnel, alreadySent } = options;
    this.#report = { tunnel, sent: alreadySent, received: 0, wrongAt: null, ending: 'reset', error: null };
  }

  /** So far. */
  get report(): Readonly<EndReport> {
    return this.#report;
  }

  /** Resolves when the connection is closed in both directions. */
  play(): Promise<EndReport> {
    const { promise, resolve } = Promise.withResolvers<EndReport>();
    const socket = this.#socket;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#report.error ??= error.code ?? error.message;
    });
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => {
      this.#report.ending = 'end';
      this.#start('after-peer-end');
    });
    socket.on('close', () => resolve(this.#report));
    socket.on('drain', () => this.#send());
    socket.resume();
    this.#considerStop();
    this.#considerStart();
    return promise;
  }

  #considerStart(): void {
    const { start } = this.#plan;
    if (typeof start === 'object') setTimeout(() => this.#begin(), start.afterMs);
    else this.#start('at-once');
  }

  #start(now: EndPlan['start']): void {
    if (this.#plan.start === now) this.#begin();
  }

  #begin(): void {
    if (this.#started || this.#socket.destroyed) return;
    this.#started = true;
    if (!this.#considerReset('sent')) this.#send();
  }

  #send(): void {
    const { bytes, chunkBytes } = this.#plan;
    const socket = this.#socket;
    while (this.#started && this.#report.sent < bytes && !socket.destroyed) {
      const chunk = this.#options.sends.slice(
        this.#report.sent,
        Math.min(chunkBytes, bytes - this.#report.sent),
      );
      const room = socket.write(chunk);
      this.#report.sent += chunk.length;
      if (this.#considerReset('sent')) return;
      if (!room) return;
      if (this.#plan.isPaced) {
        setImmediate(() => this.#send());
        return;
      }
    }
    if (this.#started && this.#mayEnd() && !socket.destroyed && !socket.writableEnded) socket.end();
  }

  #mayEnd(): boolean {
    const { reset } = this.#plan;
    return reset === null || reset.endsBefore;
  }

  #take(chunk: Buffer): void {
    const report = this.#report;
    report.wrongAt ??= this.#options.receives.wrongAt(report.received, chunk);
    report.received += chunk.length;
    if (this.#considerReset('received')) return;
    this.#considerStop();
    this.#start('after-first-byte');
  }

  #considerStop(): void {
    const { stop } = this.#plan;
    if (stop === null || this.#report.received < stop.atByte || this.#socket.isPaused()) return;
    this.#plan.stop = null;
    this.#socket.pause();
    if (Number.isFinite(stop.forMs)) setTimeout(() => this.#socket.resume(), stop.forMs);
  }

  #considerReset(after: 'sent' | 'received'): boolean {
    const { reset } = this.#plan;
    if (reset?.after !== after || this.#report[after] < reset.bytes) return false;
    this.#plan.reset = null;
    this.abandon();
    return true;
  }

  /** Ends with RST. While a FIN is on its way Node would leak the handle instead (uv_tcp_close_reset: EINVAL). */
  abandon(): void {
    const socket = this.#socket;
    this.#started = false;
    if (socket.destroyed) return;
    if (socket.writableEnded && !socket.writableFinished)
      socket.once('finish', () => socket.resetAndDestroy());
    else socket.resetAndDestroy();
  }
}
