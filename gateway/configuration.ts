// The configuration in force and how it changes: load, build, swap whole, or keep the old and say why. Build
// everything first, swap last.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { createHolder, type Holder } from '../config/holder.ts';
import { type LoadedConfiguration, loadGatewayConfig, type Sources } from '../config/load.ts';
import type { Problem } from '../config/policy/compile.ts';
import { formatProblem } from '../config/problems.ts';
import {
  buildSnapshot,
  buildSnapshotInTurns,
  type Snapshot,
  type SnapshotInput,
} from '../config/snapshot.ts';
import { type Endpoint, hostAddresses, ownEndpoints } from './listeners.ts';
import { loadAside } from './load-aside.ts';

/** What can change only by a restart. */
const fixed = ['listeners', 'admin', 'log', 'threads'] as const;

export interface ReloadOutcome {
  swapped: boolean;
  problems: readonly Problem[];
  /** Parts of the configuration that differ now and wait for a restart. */
  needRestart: readonly string[];
}

export interface StartedConfiguration {
  configuration: Configuration;
  warnings: readonly Problem[];
  /** To be told, once it is known, where the gateway listens, which it must never dial. */
  listensOn(endpoints: readonly Endpoint[]): void;
}

/** Thrown by `start`: every reason why the files cannot be run. */
export class ConfigurationError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super('the configuration has errors');
    this.problems = problems;
  }
}

type Loaded = Extract<LoadedConfiguration, { ok: true }>;

const isError = ({ severity }: Problem) => severity === 'error';

export class Configuration {
  readonly #file: string;
  readonly holder: Holder<Snapshot>;
  #sources: Sources;
  #endpoints: readonly Endpoint[] = [];
  /** Problems of an edit that was refused; empty while files and snapshot agree. */
  stale: readonly string[] = [];

  private constructor(file: string, sources: Sources, holder: Holder<Snapshot>) {
    this.#file = file;
    this.#sources = sources;
    this.holder = holder;
  }

  /** @throws ConfigurationError */
  static async start(file: string): Promise<StartedConfiguration> {
    const loaded = await loadGatewayConfig(file);
    if (!loaded.ok) throw new ConfigurationError(loaded.problems);
    const built = buildSnapshot(inputOf(loaded, 1, []));
    const problems = [...loaded.problems, ...built.problems];
    if (problems.some(isError)) throw new ConfigurationError(problems);
    const configuration = new Configuration(file, loaded.sources, createHolder(built.snapshot));
    const listensOn = (endpoints: readonly Endpoint[]) => configuration.#listensOn(loaded, endpoints);
    return { configuration, warnings: problems, listensOn };
  }

  /** Everything that was read: what to watch. */
  get sources(): Sources {
    return this.#sources;
  }

  #listensOn(loaded: Loaded, endpoints: readonly Endpoint[]): void {
    this.#endpoints = endpoints;
    this.holder.swap(buildSnapshot(inputOf(loaded, this.holder.current().generation, endpoints)).snapshot);
  }

  async reload(): Promise<ReloadOutcome> {
    const loaded = await loadAside(this.#file).catch((error: Error) => this.#unloadable(error));
    this.#sources = loaded.sources;
    if (!loaded.ok) return this.#refuse(loaded.problems);
    const current = this.holder.current();
    const needRestart = fixed.filter(
      key => JSON.stringify(loaded.config[key]) !== JSON.stringify(current.config[key]),
    );
    const kept = Object.fromEntries(fixed.map(key => [key, current.config[key]]));
    const next = { ...loaded, config: { ...loaded.config, ...kept } };
    const built = await buildSnapshotInTurns(
      inputOf(next, current.generation + 1, this.#endpoints),
      nextTurn,
    );
    const problems = [...loaded.problems, ...built.problems];
    if (problems.some(isError)) return this.#refuse(problems);
    this.stale = [];
    this.holder.swap(built.snapshot);
    return { swapped: true, problems, needRestart };
  }

  /** The loading thread failed: to those who look, a configuration that was refused. */
  #unloadable(error: Error): Extract<LoadedConfiguration, { ok: false }> {
    const message = `cannot be loaded: ${error.message}`;
    const remedy = 'try `sallyport check` on it';
    const problem: Problem = { file: this.#file, line: 1, column: 1, severity: 'error', message, remedy };
    return { ok: false, sources: this.#sources, problems: [problem] };
  }

  #refuse(problems: readonly Problem[]): ReloadOutcome {
    this.stale = problems.filter(isError).map(formatProblem);
    return { swapped: false, problems, needRestart: [] };
  }
}

function inputOf(loaded: Loaded, generation: number, endpoints: readonly Endpoint[]): SnapshotInput {
  const { config, documents, users } = loaded;
  return {
    config,
    documents,
    users,
    generation,
    self: ownEndpoints(endpoints),
    hostAddresses: hostAddresses(),
  };
}
