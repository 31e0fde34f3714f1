// A program of the failover tests on one of the hosts: started, heard, signalled, ended.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Host } from '../../support/lan.ts';
import type { Closable } from '../../support/lifetime.ts';
import { eventually, within } from '../../support/waiting.ts';

/** What a program says; each has more fields of its own. */
export interface Said {
  readonly event: string;
  /** Of the machine's monotonic clock. */
  readonly atMs: number;
  readonly [field: string]: unknown;
}

export class Program implements Closable {
  /** Everything it has said so far. */
  readonly said: Said[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #errors = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, 'exit');
    createInterface(child.stdout!).on('line', line => this.said.push(JSON.parse(line) as Said));
    child.stderr!.setEncoding('utf8').on('data', text => {
      this.#errors = (this.#errors + text).slice(-4_000);
    });
  }

  /** @param file beside this one; resolves once it has said the first thing */
  static async start(host: Host, file: string, given: object): Promise<Program> {
    const program = new Program(
      host.spawn(process.execPath, '--disable-warning=ExperimentalWarning', file, JSON.stringify(given)),
    );
    await program.hears(() => true);
    return program;
  }

  /** The first of such, now or later. @param from of `said` */
  async hears(matches: (said: Said) => boolean, from = 0): Promise<Said> {
    let at = from;
    const look = () => {
      for (; at < this.said.length; at++) if (matches(this.said[at]!)) return this.said[at];
      return undefined;
    };
    return eventually(look, 'what a program should say', () => this.#recent());
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await within(this.#exited, 'the end of a program');
  }

  /** Resolves when it has ended. */
  async ended(): Promise<void> {
    await within(this.#exited, 'the end of a program', () => this.#recent());
  }

  #recent(): string {
    return `${this.said
      .slice(-20)
      .map(each => JSON.stringify(each))
      .join('\n')}\n${this.#errors}`;
  }
}
