// Micro benchmark of the policy: cost of a decision, of compiling, and of memory, by number of rules.
// `node benchmarks/decide.ts [--rules 10,1000,100000] [--output json]`. It opens no connection; figures of different
// machines or runs are not comparable.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type IpAddress, parseAddress } from '../config/policy/address.ts';
import {
  type CompiledPolicy,
  type CompileInput,
  compilePolicies,
  compilePoliciesInTurns,
  type SourcedDocument,
} from '../config/policy/compile.ts';
import { decideByAddress, decideByName } from '../config/policy/decide.ts';
import type { Question, Workload } from '../config/policy/decision.ts';
import { parseAuthority } from '../config/policy/destination.ts';
import { policyKinds } from '../config/policy/schema.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Case {
  name: string;
  question: Question;
  address: IpAddress;
  verdict: 'allow' | 'deny';
}

interface Layout {
  name: string;
  documents(rules: number): SourcedDocument[];
  cases(rules: number): Case[];
}

const where = { line: 1, column: 1 };

function document(kind: string, metadata: object, spec: object): SourcedDocument {
  const { apiVersion, schema } = policyKinds.find(each => each.kind === kind)!;
  return {
    value: schema.parse({ apiVersion, kind, metadata, spec }),
    file: 'benchmark.yaml',
    locate: () => where,
  };
}

/** Five kinds of destination in turn. */
function rule(at: number): object {
  const to = [
    { host: `host-${at}.example.com` },
    { host: `*.zone-${at}.example.net` },
    { cidr: `${20 + (at >>> 16)}.${(at >>> 8) & 255}.${at & 255}.0/24` },
    { cidr: `2600:${(at >>> 16).toString(16)}:${(at & 0xffff).toString(16)}::/48` },
    { host: `deep.host-${at}.example.org` },
  ][at % 5];
  return { name: `rule-${at}`, action: at % 50 === 49 ? 'Deny' : 'Allow', to: [to], ports: [443] };
}

const everyone: Layout = {
  name: 'one policy for every client',
  documents: rules => [
    document(
      'ClusterEgressPolicy',
      { name: 'all' },
      { rules: Array.from({ length: rules }, (_, at) => rule(at)) },
    ),
  ],
  cases: rules => cases(rules - (rules % 5) - 5, null),
};

const rulesOfWorkload = 10;

const namespaces: Layout = {
  name: 'ten rules in the namespace of each workload',
  documents: rules =>
    Array.from({ length: rules / rulesOfWorkload }, (_, at) => {
      const first = at * rulesOfWorkload;
      const own = Array.from({ length: rulesOfWorkload }, (_, index) => rule(first + index));
      return document('EgressPolicy', { name: 'own', namespace: `team-${at}` }, { rules: own });
    }),
  cases: rules => cases(rules - rulesOfWorkload, workload(rules / rulesOfWorkload - 1)),
};

function workload(at: number): Workload {
  const namespace = `team-${at}`;
  const labels = { app: 'web', 'pod-template-hash': `${at}` };
  const namespaceLabels = { 'kubernetes.io/metadata.name': namespace };
  return { namespace, pod: `web-${at}`, serviceAccount: 'default', owner: null, labels, namespaceLabels };
}

/** Questions about the rules from number `at` on. */
function cases(at: number, of: Workload | null): Case[] {
  const block = at + 2;
  const v4 = `${20 + (block >>> 16)}.${(block >>> 8) & 255}.${block & 255}.7`;
  const v6 = `2600:${((at + 3) >>> 16).toString(16)}:${((at + 3) & 0xffff).toString(16)}::7`;
  const made = (name: string, host: string, address: string, verdict: Case['verdict']): Case => {
    const destination = parseAuthority(`${host}:443`);
    if (destination.kind === 'error') throw new Error(destination.message);
    const client = { address: parseAddress('10.1.2.3'), user: null, workload: of };
    const question: Question = { client, destination, protocol: 'TCP', nowMs: 0 };
    return { name, question, address: parseAddress(address)!, verdict };
  };
  return [
    made('exact name, allowed', `host-${at}.example.com`, '93.184.216.34', 'allow'),
    made('wildcard, allowed', `a.b.zone-${at + 1}.example.net`, '93.184.216.34', 'allow'),
    made('IPv4 literal, allowed', v4, v4, 'allow'),
    made('IPv6 literal, allowed', `[${v6}]`, v6, 'allow'),
    made('name, no rule, denied', 'unknown.example.com', '93.184.216.34', 'deny'),
    made('private address, denied', `host-${at}.example.com`, '10.9.8.7', 'deny'),
  ];
}

function decide(policy: CompiledPolicy, { question, address }: Case): string {
  if (question.destination.kind === 'name') {
    const byName = decideByName(policy, question);
    if (byName !== 'resolve') return byName.verdict;
  }
  return decideByAddress(policy, question, address).verdict;
}

/** Median of several rounds, and bytes allocated, for one decision by name and by address together. */
function measure(policy: CompiledPolicy, one: Case): { ns: number; bytes: number } {
  if (decide(policy, one) !== one.verdict) throw new Error(`${one.name}: not ${one.verdict}`);
  const times: number[] = [];
  let bytes = Infinity;
  const count = 100_000;
  for (let round = 0; round < 7; round++) {
    collect();
    const before = allocatedBytes();
    const start = process.hrtime.bigint();
    for (let at = 0; at < count; at++) decide(policy, one);
    times.push(Number(process.hrtime.bigint() - start) / count);
    bytes = Math.min(bytes, (allocatedBytes() - before) / count);
  }
  return { ns: Math.round(times.sort((a, b) => a - b)[3]!), bytes: Math.round(bytes) };
}

async function benchmark(layout: Layout, rules: number) {
  const before = heapBytes();
  let input: CompileInput | null = inputOf(layout, rules);
  const start = performance.now();
  const { policy } = compilePolicies(input);
  const compileMs = performance.now() - start;
  input = null;
  const heapMiB = (heapBytes() - before) / 1024 ** 2;
  const decisions = layout.cases(rules).map(one => ({ name: one.name, ...measure(policy, one) }));
  const pieces = await pieceTimes(inputOf(layout, rules));
  return {
    layout: layout.name,
    rules,
    compileMs: round(compileMs),
    longestPieceMs: round(Math.max(...pieces)),
    heapMiB: round(heapMiB),
    decisions,
  };
}

function inputOf(layout: Layout, rules: number): CompileInput {
  return {
    documents: layout.documents(rules),
    guardCidrs: [],
    self: { addresses: [], ports: [] },
    defaultAction: 'Deny',
    onForbiddenAnswer: 'Drop',
    generation: 1,
  };
}

/** How long each piece of compiling in turns keeps the event loop, in milliseconds. */
async function pieceTimes(input: CompileInput): Promise<number[]> {
  const times: number[] = [];
  let start = performance.now();
  await compilePoliciesInTurns(input, async () => {
    times.push(performance.now() - start);
    await nextTurn();
    start = performance.now();
  });
  return times;
}

/** Bytes ever allocated; only Node 26 and later say. */
function allocatedBytes(): number {
  return (getHeapStatistics() as { total_allocated_bytes?: number }).total_allocated_bytes ?? Number.NaN;
}

function heapBytes(): number {
  collect();
  return getHeapStatistics().used_heap_size;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function printText(results: readonly Awaited<ReturnType<typeof benchmark>>[]): void {
  for (const { layout, rules, compileMs, longestPieceMs, heapMiB, decisions } of results) {
    const compiled = `compiled in ${compileMs} ms (longest piece in turns ${longestPieceMs} ms)`;
    console.log(`\n${layout}: ${rules} rules, ${compiled}, ${heapMiB} MiB`);
    for (const { name, ns, bytes } of decisions) {
      console.log(`  ${name.padEnd(26)} ${String(ns).padStart(6)} ns  ${String(bytes).padStart(5)} bytes`);
    }
  }
}

const { values } = parseArgs({
  options: { rules: { type: 'string', default: '10,1000,100000' }, output: { type: 'string' } },
});
const sizes = values.rules.split(',').map(Number);
const results = [];
for (const layout of [everyone, namespaces]) {
  for (const rules of sizes) results.push(await benchmark(layout, rules));
}
if (values.output === 'json') console.log(JSON.stringify(results, null, 2));
else printText(results);
