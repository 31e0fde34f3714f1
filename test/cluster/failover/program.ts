// A program on one of the hosts of the failover tests: started, heard, signalled, ended.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Host } from '../../support/lan.ts';
import type { Closable } from '../../support/lifetime.ts';
import { eventually, within } from '../../support/waiting.ts';

/** A line of JSON that a program wrote. */
export type Said = Readonly<Record<string, unknown>>;

export class Program implements Closable {
  /** All lines so far, of standard output and of standard error. */
  readonly said: Said[] = [];
  readonly errors: Said[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  /** What of standard error was no JSON. */
  #rest = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, 'exit');
    createInterface(child.stdout!).on('line', line => this.said.push(JSON.parse(line) as Said));
    createInterface(child.stderr!).on('line', line => {
      if (line.startsWith('{')) this.errors.push(JSON.parse(line) as Said);
      else this.#rest = `${this.#rest}${line}\n`.slice(-4_000);
    });
  }

  /** Runs a TypeScript program of this project. */
  static start(host: Host, file: string, ...args: string[]): Program {
    return new Program(host.spawn(process.execPath, '--disable-warning=ExperimentalWarning', file, ...args));
  }

  /** Starts one that says something once it is ready. */
  static async startAndHear(host: Host, file: string, given: object): Promise<Program> {
    const program = Program.start(host, file, JSON.stringify(given));
    await program.hears(() => true);
    return program;
  }

  /** The first of such on standard output, now or later. @param from which of `said` to begin with */
  hears(matches: (said: Said) => boolean, from = 0): Promise<Said> {
    return this.#hears(this.said, matches, from);
  }

  /** Likewise on standard error. */
  hearsError(matches: (said: Said) => boolean, from = 0): Promise<Said> {
    return this.#hears(this.errors, matches, from);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when it has ended. */
  async ended(): Promise<void> {
    await within(this.#exited, 'the end of a program', () => this.#recent());
  }

  /** Safe where it has ended already. */
  async close(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
  }

  #hears(said: readonly Said[], matches: (said: Said) => boolean, from: number): Promise<Said> {
    let at = from;
    const look = () => {
      for (; at < said.length; at++) if (matches(said[at]!)) return said[at];
      return undefined;
    };
    return eventually(look, 'what a program should say', () => this.#recent());
  }

  #recent(): string {
    const lines = [...this.said.slice(-5), ...this.errors.slice(-20)].map(each => JSON.stringify(each));
    return `${lines.join('\n')}\n${this.#rest}`;
  }
}
