// `sallyport test`: cases of what policies should allow and deny, run against them, for the CI of those who write them.
// Offline; it changes nothing.

import { formatProblem, inOrder } from '../../config/problems.ts';
import { type CaseResult, type FileResult, runPolicyTests } from './case-results.ts';
import { type Command, Misuse, oneOf, readArguments } from './command.ts';
import { inColumns, type Paint, painterFor } from './paint.ts';
import { isError } from './policy-source.ts';
import { printable } from './session-table.ts';

export const test: Command = {
  name: 'test',
  summary: 'run test cases against policies',
  help: `Usage: sallyport test FILE… [--verbose] [--output text|json]

Runs the cases of each FILE against the policies it names, and prints those that failed with what was expected and what
came out. A file holds:

  apiVersion: sallyport.dev/v1alpha1
  kind: PolicyTest
  policies: [policies/*.yaml]          # relative to the file
  config: gateway.yaml                 # optional: its guard and default, and its policies where none are given
  at: "2027-01-31T18:00:00Z"           # optional: as of when; now by default
  cases:
  - name: alice reaches the API
    client: {address: 10.1.2.3, user: alice}
    to: api.example.com:443
    resolved: [93.184.216.34]          # optional: what the name resolves to; else some public address
    expect: {verdict: Allow, policy: team-a, rule: web}
  - name: the shop may not post
    client: {workload: {namespace: shop, labels: {app: web}, serviceAccount: default}}
    to: pay.example.net:80
    http: {method: POST, path: /v1}    # optional: where the gateway sees the request
    sni: pay.example.net               # optional: the TLS server name; null for none
    expect: {verdict: Deny, tier: Namespace, wouldDeny: false}

Of expect, only what is written is compared. A policy is Kind/name, Kind/namespace/name, or its name alone; null stands
for none.

  --verbose            list the cases that passed too
  --output text|json   for people (default) or for programs

Exit codes: 0 every case passed, 1 some failed or could not be run, 2 misuse.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(argv, {
      verbose: { type: 'boolean', default: false },
      output: { type: 'string', default: 'text' },
    });
    const output = oneOf('output', values.output, ['text', 'json']);
    if (positionals.length === 0) throw new Misuse('no FILE given, try policies.test.yaml');
    const results: FileResult[] = [];
    for (const file of positionals) results.push(await runPolicyTests(file, Date.now()));
    const text = () => reportText(results, painterFor(parts.stdout), values.verbose);
    parts.stdout.write(output === 'json' ? reportJson(results) : text());
    return isGood(results) ? 0 : 1;
  },
};

function isGood(results: readonly FileResult[]): boolean {
  return results.every(
    ({ problems, cases }) => !problems.some(isError) && cases.length > 0 && cases.every(hasPassed),
  );
}

function hasPassed({ mismatches }: CaseResult): boolean {
  return mismatches.length === 0;
}

function reportJson(results: readonly FileResult[]): string {
  const files = results.map(({ file, problems, cases }) => ({
    file,
    problems,
    cases: cases.map(each => ({ ...each, passed: hasPassed(each) })),
  }));
  return `${JSON.stringify({ ok: isGood(results), ...countsOf(results), files }, null, 2)}\n`;
}

function countsOf(results: readonly FileResult[]) {
  const cases = results.flatMap(each => each.cases);
  const passed = cases.filter(hasPassed).length;
  const errors = results.flatMap(({ problems }) => problems).filter(isError).length;
  return { passed, failed: cases.length - passed, errors };
}

function reportText(results: readonly FileResult[], paint: Paint, verbose: boolean): string {
  const problems = inOrder(results.flatMap(each => each.problems)).map(formatProblem);
  const cases = results.flatMap(({ file, cases }) =>
    cases.flatMap(each => caseLines(file, each, paint, verbose)),
  );
  const { passed, failed, errors } = countsOf(results);
  const counts = [`${passed} passed`, `${failed} failed`, ...(errors > 0 ? [`${errors} errors`] : [])].join(
    ', ',
  );
  const summary = paint(failed + errors > 0 ? 'red' : 'green', counts);
  return [...problems, ...cases, summary].map(line => `${line}\n`).join('');
}

function caseLines(file: string, given: CaseResult, paint: Paint, verbose: boolean): string[] {
  const { name, line, column, question, decision, mismatches, nearest } = given;
  const what = printable(`${file}:${line}:${column}  ${name}`);
  if (hasPassed(given)) return verbose ? [`${paint('green', 'ok  ')}  ${what}`] : [];
  const rows = mismatches.map(({ field, expected, got }) => [field, printable(expected), printable(got)]);
  const table = inColumns([['', 'expected', 'got'], ...rows]).map(row => `        ${row}`);
  return [
    `${paint(['bold', 'red'], 'FAIL')}  ${what}`,
    `        ${printable(question)}`,
    ...table,
    `        because ${printable(decision.reason)}`,
    ...(nearest === null ? [] : [`        nearest ${printable(nearest)}`]),
    '',
  ];
}
