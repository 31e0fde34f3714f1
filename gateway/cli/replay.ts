// `sallyport replay`: the sessions of a decision log against candidate policies, and what would change. It streams:
// memory does not grow with the log. Offline; every verdict is the evaluator's own.

import { spreadLists } from './argument-lists.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';
import { painterFor } from './paint.ts';
import { loadPolicySource, withPolicies } from './policy-source.ts';
import { readLogs } from './record-lines.ts';
import { parseSession } from './recorded-session.ts';
import { Redecider } from './redecide-records.ts';
import { Differences } from './replay-differences.ts';
import { replayJson, replayText } from './replay-report.ts';
import { parseTime } from './times.ts';

const options = {
  log: { type: 'string', multiple: true, default: [] as string[] },
  policies: { type: 'string', multiple: true, default: [] as string[] },
  config: { type: 'string' },
  at: { type: 'string' },
  limit: { type: 'string', default: '10' },
  timing: { type: 'boolean', default: false },
  output: { type: 'string', default: 'text' },
} as const;

export const replay: Command = {
  name: 'replay',
  summary: 'decide the sessions of a log again, and say what other policies would change',
  help: `Usage: sallyport replay --log FILE… --policies FILE… [--config FILE] [OPTION]…

Decides every session of a decision log again, by candidate policies, and prints the difference: newly denied, newly
allowed, and what an Audit policy would deny, by who asked for what, with counts and an example. Offline: it takes the
addresses that names had then, and the rules that hold now.

  --log FILE…          decision logs (JSON Lines); *.gz is unpacked, - is standard input
  --policies FILE…     the candidate: policy files, or folders of them
  --config FILE        the configuration they would run in: its guard, default and listeners; without --policies, the
                       policies it names are the candidate
  --at TIME            as of this time, such as 2027-01-31T18:00:00Z; now by default
  --limit N            identities shown of each change, and destinations of each identity (default 10)
  --timing             say on standard error how long it took
  --output text|json   for people (default) or for programs

Sessions that cannot be decided again are counted with the reason. A pod is known only by a Workload among the policies.

Exit codes: 0 no verdict changes, 1 some do, 2 misuse, policies with errors, or nothing that could be decided.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(spreadLists(argv, options, ['log', 'policies']), options);
    if (positionals.length > 0) throw new Misuse(`no operands wanted, got ${JSON.stringify(positionals[0])}`);
    if (values.log.length === 0) throw new Misuse('no log given, try --log decisions.jsonl');
    if (values.config === undefined && values.policies.length === 0)
      throw new Misuse('no candidate given, try --policies FILE');
    const output = oneOf('output', values.output, ['text', 'json']);
    const limit = limitOf(values.limit);
    const nowMs = values.at === undefined ? Date.now() : parseTime(values.at);
    if (nowMs === null) throw new Misuse(`--at takes a time such as 2027-01-31T18:00:00Z`);
    return withPolicies(parts, async () => {
      const { policy } = await loadPolicySource(values.config, values.policies);
      const differences = await compare(values.log, new Redecider(policy, nowMs), parts, values.timing);
      const text = () => replayText(differences, painterFor(parts.stdout), limit);
      parts.stdout.write(output === 'json' ? replayJson(differences) : text());
      return exitCodeOf(differences, parts);
    });
  },
};

function limitOf(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new Misuse(`--limit takes a number, got ${JSON.stringify(text)}`);
  return Number(text);
}

async function compare(
  logs: readonly string[],
  redecider: Redecider,
  parts: CommandParts,
  isTimed: boolean,
): Promise<Differences> {
  const differences = new Differences();
  const startedAt = performance.now();
  let lines = 0;
  const bytes = await readLogs(logs, parts.stdin, line => {
    lines++;
    const session = parseSession(line);
    if (session === 'other') return;
    if (typeof session === 'string') return differences.addUndecided(session);
    const decision = redecider.decide(session);
    if (typeof decision === 'string') differences.addUndecided(decision);
    else differences.add(session, decision);
  });
  if (isTimed) parts.stderr.write(timing(lines, bytes, performance.now() - startedAt));
  return differences;
}

function timing(lines: number, bytes: number, ms: number): string {
  const [seconds, megabytes] = [ms / 1000, bytes / 1e6];
  const rate = Math.round(lines / seconds);
  return `sallyport replay: ${lines} lines, ${megabytes.toFixed(1)} MB in ${seconds.toFixed(2)} s: ${rate} lines/s\n`;
}

function exitCodeOf({ sessions, counts, undecided }: Differences, { stderr }: CommandParts): ExitCode {
  if (sessions === 0 && undecided.size > 0) {
    stderr.write('sallyport replay: no session could be decided again\n');
    return 2;
  }
  return counts.newlyDenied + counts.newlyAllowed > 0 ? 1 : 0;
}
