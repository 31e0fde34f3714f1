// What a run of the benchmark has found, before it is put into words, JSON or a picture. Facts of the run and samples.

import { readFileSync } from 'node:fs';
import os, { cpus, totalmem } from 'node:os';
import type { Growth } from '../measure/growth.ts';
import type { Figures, Metric } from '../measure/scenarios.ts';
import { summarize } from '../measure/summary.ts';

export class Samples {
  readonly #values = new Map<string, number[]>();

  add(figures: Figures): void {
    for (const [key, value] of Object.entries(figures)) {
      if (value !== null) this.#values.set(key, [...(this.#values.get(key) ?? []), value]);
    }
  }

  /** Absent where the metric means nothing for the peer. */
  get(key: string): number[] | undefined {
    return this.#values.get(key);
  }

  median(key: string): number | null {
    const values = this.#values.get(key);
    return values === undefined ? null : summarize(values).median;
  }

  entries(): [string, number[]][] {
    return [...this.#values];
  }
}

export interface PeerResult {
  name: string;
  version: string;
  note: string | null;
  samples: Samples;
}

export interface GrowthResult {
  growth: Growth;
  /** By peer's name, then by step. */
  points: Map<string, Map<number, Samples>>;
}

export interface Result {
  command: string;
  date: string;
  rounds: number;
  seconds: number;
  allowedNames: number;
  /** What the client and the origin are. */
  load: string;
  metrics: Metric[];
  peers: PeerResult[];
  growths: GrowthResult[];
  /** Share of the machine that went to programs without a part in it, during the middle load. */
  othersBusy: number;
  /** Peers, loads and steps that were asked for and are missing, each with the reason. */
  missing: string[];
}

export const machine = () => ({
  processor: cpus()[0]?.model.trim() ?? 'unknown',
  processors: os.availableParallelism(),
  memoryGb: Math.round(totalmem() / 1e9),
  kernel: os.release(),
  node: process.version,
  congestionControl: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'latin1').trim(),
});

export function machineLine(): string {
  const { processor, processors, memoryGb, kernel, congestionControl } = machine();
  return `${processor}, ${processors} processors, ${memoryGb} GB, Linux ${kernel}, TCP ${congestionControl}`;
}

export const formatNumber = (value: number, digits: number) =>
  value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
