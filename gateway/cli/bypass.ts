// `sallyport bypass`: whether there is a way out that does not lead through the gateway, tried from where it runs. It
// can also print itself as a Job. It changes nothing, and tells a target nothing but that somebody connected.

import { type Destination, formatAuthority, parseAuthority } from '../../config/policy/destination.ts';
import { spreadLists } from './argument-lists.ts';
import { bypassJob } from './bypass-job.ts';
import {
  type Attempt,
  addressesOf,
  askProxy,
  type ProxyAnswer,
  textOf,
  tryDns,
  tryTcp,
} from './bypass-probe.ts';
import { parseClientAddress } from './client-facts.ts';
import { type Command, type CommandParts, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';
import { commentedYaml } from './commented-yaml.ts';
import { labelsOf, listOf, namespaceOf, objectNameOf } from './kubernetes-arguments.ts';
import { inColumns } from './paint.ts';
import { printable } from './session-table.ts';

const list = { type: 'string', multiple: true, default: [] as string[] } as const;

const options = {
  target: list,
  dns: list,
  proxy: { type: 'string' },
  timeout: { type: 'string', default: '5s' },
  output: { type: 'string', default: 'text' },
  job: { type: 'boolean', default: false },
  namespace: { type: 'string' },
  image: { type: 'string' },
  name: { type: 'string' },
  'pod-labels': { type: 'string' },
} as const;

type Values = ReturnType<typeof readArguments<typeof options>>['values'];

/** All are tried at once. */
const mostTargets = 32;

export const bypass: Command = {
  name: 'bypass',
  summary: 'try to get out without the gateway, from inside a pod',
  help: `Usage: sallyport bypass --target HOST:PORT… [--dns ADDRESS[:PORT]…] [--proxy URL] [OPTION]…
       sallyport bypass --job --namespace NAME --image IMAGE --target HOST:PORT… [OPTION]…

Connects to each target directly, whatever the proxy variables say: to every address of a name (the first 8), IPv4 and
IPv6. A target is sent nothing. It tells of the place where it runs: call it in a pod of the namespace that is locked,
or print a Job that does: sallyport bypass --job … | kubectl replace --force --filename -

  open      a connection was made, or a query answered: a way out
  closed    timeout (dropped), unreachable, prohibited, reset, or refused: by a rule on the way, or by the target, and
            then the way is open; take targets that listen, and --proxy shows whether they do
  untried   the name was not found, or the system lacked something: this says nothing, so try an address

  --target HOST:PORT…      by TCP; there is no default, nothing is connected to that you did not name
  --dns ADDRESS[:PORT]…    by UDP: asks this resolver for the root's name servers (port 53)
  --proxy http://HOST:PORT asks for each target through this proxy too, and tells the answer
  --timeout TIME           of one attempt: 5s (default), 500ms, at most 60s
  --output text|json

  --job                    print a Job for kubectl: restricted Pod Security, no retry, gone an hour after its end
  --namespace NAME         where it runs
  --image IMAGE            of the gateway, which holds this command
  --name NAME              of the Job (default sallyport-bypass)
  --pod-labels KEY=VALUE,… of its pod, where policies select by them

Exit codes: 0 every direct way is closed, 1 one is open or a target was untried, 2 misuse.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(spreadLists(argv, options, ['target', 'dns']), options);
    if (positionals.length > 0)
      throw new Misuse(`no operands wanted, got ${JSON.stringify(positionals[0])}, try --target`);
    const output = oneOf('output', values.output, ['text', 'json']);
    const asked = readQuestions(values);
    if (values.job) return printJob(values, asked, output, parts);
    for (const option of ['namespace', 'image', 'name', 'pod-labels'] as const)
      if (values[option] !== undefined) throw new Misuse(`--${option} belongs to --job`);
    return report(await probe(asked), asked, output, parts);
  },
};

interface DnsServer {
  readonly address: string;
  readonly port: number;
}

interface Questions {
  readonly targets: readonly Destination[];
  readonly resolvers: readonly DnsServer[];
  readonly proxy: URL | null;
  readonly timeoutMs: number;
}

function readQuestions(values: Values): Questions {
  const targets = listOf('target', values.target, mostTargets, targetOf);
  const resolvers = listOf('dns', values.dns, mostTargets, resolverOf);
  if (targets.length + resolvers.length === 0)
    throw new Misuse('no target given, try --target with a host and port that must not be reached directly');
  return { targets, resolvers, proxy: proxyOf(values.proxy), timeoutMs: timeoutOf(values.timeout) };
}

function targetOf(option: string, text: string): Destination {
  const destination = parseAuthority(text);
  if (destination.kind !== 'error') return destination;
  throw new Misuse(`--${option} ${JSON.stringify(text)}: ${destination.message}`);
}

function resolverOf(option: string, text: string): DnsServer {
  const alone = parseClientAddress(text);
  if (alone !== null) return { address: alone.text, port: 53 };
  const { host, port, address } = targetOf(option, text);
  if (address === null)
    throw new Misuse(`--${option} takes the address of a resolver, got ${JSON.stringify(text)}`);
  return { address: host, port };
}

/** The message holds nothing of the URL: it may hold a password. */
function proxyOf(text: string | undefined): URL | null {
  if (text === undefined) return null;
  const url = URL.parse(text);
  if (url?.protocol === 'http:' && url.pathname === '/' && url.search === '') return url;
  throw new Misuse('--proxy takes a URL such as http://sallyport.sallyport.svc:3128');
}

function timeoutOf(text: string): number {
  const [, count, unit] = /^(\d{1,5})(ms|s)$/.exec(text) ?? [];
  const ms = Number(count) * (unit === 's' ? 1000 : 1);
  if (ms >= 100 && ms <= 60_000) return ms;
  throw new Misuse(`--timeout takes a time from 100ms to 60s, got ${JSON.stringify(text)}`);
}

type Verdict = 'open' | 'closed' | 'untried';

interface Finding {
  /** As it was given: `host:port`. */
  readonly target: string;
  readonly by: 'tcp' | 'dns';
  readonly verdict: Verdict;
  readonly attempts: readonly Attempt[];
  /** Why nothing was tried, or what to make of it; null where there is nothing to say. */
  readonly note: string | null;
  /** Only with a proxy, and never for DNS. */
  readonly proxy?: ProxyAnswer;
}

function probe({ targets, resolvers, proxy, timeoutMs }: Questions): Promise<Finding[]> {
  return Promise.all([
    ...targets.map(target => probeTarget(target, proxy, timeoutMs)),
    ...resolvers.map(resolver => probeResolver(resolver, timeoutMs)),
  ]);
}

async function probeTarget(target: Destination, proxy: URL | null, timeoutMs: number): Promise<Finding> {
  const [direct, answer] = await Promise.all([
    tryDirectly(target, timeoutMs),
    proxy === null ? null : askProxy(proxy, target, timeoutMs),
  ]);
  const { attempts } = direct;
  const verdict = verdictOf(attempts);
  return {
    target: formatAuthority(target),
    by: 'tcp',
    verdict,
    attempts,
    note: direct.note ?? (verdict === 'closed' ? refusalNote(attempts, answer) : null),
    ...(answer === null ? {} : { proxy: answer }),
  };
}

async function tryDirectly(
  target: Destination,
  timeoutMs: number,
): Promise<{ attempts: readonly Attempt[]; note: string | null }> {
  try {
    const addresses = await addressesOf(target, timeoutMs);
    const attempts = addresses.map(address => tryTcp(address, target.port, timeoutMs));
    return { attempts: await Promise.all(attempts), note: null };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { attempts: [], note: `the name was not found (${code ?? message}): try an address` };
  }
}

async function probeResolver({ address, port }: DnsServer, timeoutMs: number): Promise<Finding> {
  const attempts = [await tryDns(address, port, timeoutMs)];
  const verdict = verdictOf(attempts);
  const note = verdict === 'closed' ? refusalNote(attempts, null) : null;
  return { target: textOf(address, port), by: 'dns', verdict, attempts, note };
}

function verdictOf(attempts: readonly Attempt[]): Verdict {
  if (attempts.some(({ ending }) => ending === 'connected')) return 'open';
  const isTried = attempts.length > 0 && attempts.every(({ ending }) => ending !== 'untried');
  return isTried ? 'closed' : 'untried';
}

/** A refusal proves a rule only where the target is known to listen. */
function refusalNote(attempts: readonly Attempt[], answer: ProxyAnswer | null): string | null {
  const listens = answer !== null && 'status' in answer && answer.status >= 200 && answer.status < 300;
  if (listens || attempts.every(({ ending }) => ending !== 'refused')) return null;
  return 'refused by a rule on the way, or by the target itself: then the way is open';
}

function report(
  findings: readonly Finding[],
  { proxy }: Questions,
  output: 'text' | 'json',
  { stdout }: CommandParts,
): ExitCode {
  const isClosed = findings.every(({ verdict }) => verdict === 'closed');
  const json = () => `${JSON.stringify({ closed: isClosed, findings }, null, 2)}\n`;
  stdout.write(output === 'json' ? json() : textOfFindings(findings, proxy));
  return isClosed ? 0 : 1;
}

function textOfFindings(findings: readonly Finding[], proxy: URL | null): string {
  const rows = findings.map(finding => [
    `${finding.by} ${finding.target}`,
    finding.verdict,
    printable(detailsOf(finding)),
  ]);
  const through = findings.flatMap(({ target, proxy: answer }) =>
    answer === undefined ? [] : [`  ${target}  ${printable(textOfAnswer(answer))}`],
  );
  return [
    ...inColumns(rows),
    ...(proxy === null ? [] : [`through ${proxy.host}:`, ...through]),
    summaryOf(findings),
    '',
  ].join('\n');
}

function detailsOf({ attempts, note }: Finding): string {
  const tried = attempts.map(({ to, ending, error }) => `${to} ${error ?? ending}`).join(', ');
  return [tried, note].filter(Boolean).join('; ');
}

function textOfAnswer(answer: ProxyAnswer): string {
  return 'status' in answer ? `${answer.status} ${answer.reason}` : answer.error;
}

function summaryOf(findings: readonly Finding[]): string {
  const count = (verdict: Verdict) => findings.filter(finding => finding.verdict === verdict).length;
  if (count('open') > 0)
    return `a way out without the gateway is open: ${count('open')} of ${findings.length}`;
  if (count('untried') > 0) return `not known: ${count('untried')} of ${findings.length} untried`;
  return `no direct way was found: ${findings.length} tried`;
}

function printJob(
  values: Values,
  asked: Questions,
  output: 'text' | 'json',
  { stdout }: CommandParts,
): ExitCode {
  const { namespace, image } = values;
  if (namespace === undefined || image === undefined) throw new Misuse('--job needs --namespace and --image');
  if (!/^[^\s]{1,512}$/.test(image)) throw new Misuse('--image takes the name of an image');
  if (asked.proxy !== null && asked.proxy.username !== '')
    throw new Misuse('--proxy with a password would stand in the Job for everybody to read');
  const labels = values['pod-labels'];
  const job = bypassJob({
    name: objectNameOf('name', values.name ?? 'sallyport-bypass'),
    namespace: namespaceOf('namespace', namespace),
    image,
    labels: labels === undefined ? {} : labelsOf('pod-labels', labels),
    args: argumentsOf(asked, values.timeout),
  });
  stdout.write(output === 'json' ? `${JSON.stringify(job.object, null, 2)}\n` : commentedYaml(job));
  return 0;
}

/** The same questions as a command line, for the Job. */
function argumentsOf({ targets, resolvers, proxy }: Questions, timeout: string): string[] {
  return [
    'bypass',
    ...targets.map(target => `--target=${formatAuthority(target)}`),
    ...resolvers.map(({ address, port }) => `--dns=${textOf(address, port)}`),
    ...(proxy === null ? [] : [`--proxy=${proxy.origin}`]),
    `--timeout=${timeout}`,
  ];
}
