// The result as JSON for programs: every sample, with middle and spread.

import { summarize } from '../measure/summary.ts';
import { type GrowthResult, machine, type Result, type Samples } from './result.ts';

const summaries = (samples: Samples) =>
  Object.fromEntries(samples.entries().map(([key, values]) => [key, summarize(values)]));

const growth = ({ growth: { name, title, unit, metrics }, points }: GrowthResult) => ({
  name,
  title,
  unit,
  metrics,
  peers: [...points].map(([peer, steps]) => ({
    name: peer,
    points: [...steps].map(([step, samples]) => ({ step, metrics: summaries(samples) })),
  })),
});

export function asJson({ peers, growths, ...rest }: Result): string {
  const whole = {
    ...rest,
    machine: machine(),
    peers: peers.map(({ samples, ...peer }) => ({ ...peer, metrics: summaries(samples) })),
    growths: growths.map(growth),
  };
  return JSON.stringify(whole, null, 2);
}
