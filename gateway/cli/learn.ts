// `sallyport learn`: the sessions of a decision log as the smallest policies that cover them, to be read and then
// applied. Offline, in bounded memory; what it prints is YAML that `check` accepts.

import { spreadLists } from './argument-lists.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';
import { LearnedAccess } from './learned-access.ts';
import { proposePolicies } from './learned-policies.ts';
import { learnedJson, learnedYaml, type Proposal } from './learned-report.ts';
import { loadGuard, withPolicies } from './policy-source.ts';
import { readLogs } from './record-lines.ts';
import { parseSession, type RecordedSession, type Undecidable } from './recorded-session.ts';
import { parseSince } from './times.ts';

const options = {
  log: { type: 'string', multiple: true, default: [] as string[] },
  config: { type: 'string' },
  since: { type: 'string' },
  'include-denied': { type: 'boolean', default: false },
  fold: { type: 'string', default: '3' },
  output: { type: 'string', default: 'text' },
} as const;

export const learn: Command = {
  name: 'learn',
  summary: 'propose policies that cover what a log shows',
  help: `Usage: sallyport learn --log FILE… [--since TIME] [OPTION]…

Proposes the smallest ClusterEgressPolicies that cover the allowed sessions of a decision log, one for each user and
client block (as the log knows them): names, addresses, ports, with counts as comments. Siblings under one owner's name
become a pattern (*.example.com), never across a public suffix. Special-purpose addresses are opened only where the log
shows them, one by one, with a warning. Read it, then: sallyport replay --log FILE --policies PROPOSAL

  --log FILE…          decision logs (JSON Lines); *.gz is unpacked, - is standard input
  --since TIME         sessions from then on: 2026-11-01T00:00:00Z, or 90s, 15m, 24h, 7d before now
  --include-denied     cover denied sessions too, at public addresses and in private networks; no link-local, loopback
                       or metadata address is opened by what was denied
  --fold N             names under one owner from which on they become a pattern (default 3); 0 for never
  --config FILE        the gateway's configuration, for the ranges of its own that it guards
  --output text|json   YAML (default), or the same and its counts for programs

Exit codes: 0 everything is covered, 1 some sessions are not or there is nothing to propose, 2 misuse.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(spreadLists(argv, options, ['log']), options);
    if (positionals.length > 0) throw new Misuse(`no operands wanted, got ${JSON.stringify(positionals[0])}`);
    if (values.log.length === 0) throw new Misuse('no log given, try --log decisions.jsonl');
    const output = oneOf('output', values.output, ['text', 'json']);
    const fold = foldOf(values.fold);
    const wanted = wantedSessions(values.since, values['include-denied']);
    return withPolicies(parts, async (): Promise<ExitCode> => {
      const guard = await loadGuard(values.config);
      const access = new LearnedAccess(guard);
      const unusable = await learnFrom(values.log, wanted, access, parts);
      const policies = proposePolicies(access.learned(), { guard }, fold);
      const proposal: Proposal = { policies, access, unusable };
      parts.stdout.write(output === 'json' ? learnedJson(proposal) : learnedYaml(proposal));
      return policies.length > 0 && access.uncoveredSessions === 0 ? 0 : 1;
    });
  },
};

function foldOf(text: string): number {
  if (!/^(0|[2-9]|[1-9]\d{1,5})$/.test(text))
    throw new Misuse(`--fold takes 0 or a number from 2, got ${JSON.stringify(text)}`);
  return Number(text);
}

function wantedSessions(
  since: string | undefined,
  includeDenied: boolean,
): (session: RecordedSession) => boolean {
  const sinceMs = since === undefined ? -Infinity : parseSince(since, Date.now());
  if (sinceMs === null)
    throw new Misuse(
      `--since takes a time such as 2026-11-01T00:00:00Z or 24h, got ${JSON.stringify(since)}`,
    );
  return ({ verdict, time }) =>
    (includeDenied || verdict === 'allow') && (sinceMs === -Infinity || Date.parse(time) >= sinceMs);
}

/** Lines that no session could be read of, by reason. */
async function learnFrom(
  logs: readonly string[],
  wanted: (session: RecordedSession) => boolean,
  access: LearnedAccess,
  { stdin }: CommandParts,
): Promise<ReadonlyMap<Undecidable, number>> {
  const unusable = new Map<Undecidable, number>();
  await readLogs(logs, stdin, line => {
    const session = parseSession(line);
    if (session === 'other') return;
    const reason = typeof session === 'string' ? session : wanted(session) ? access.add(session) : null;
    if (reason !== null) unusable.set(reason, (unusable.get(reason) ?? 0) + 1);
  });
  return unusable;
}
