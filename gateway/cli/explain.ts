// `sallyport explain`: one question to the policies, the answer, every step on the way to it, and for a denial what to
// add. It opens no connection and asks no name server; the verdict is the evaluator's own.

import type { IpAddress } from '../../config/policy/address.ts';
import type { Question } from '../../config/policy/decision.ts';
import { parseAuthority } from '../../config/policy/destination.ts';
import { spreadLists } from './argument-lists.ts';
import { type ClientFacts, clientOf, parseClientAddress, parseLabels } from './client-facts.ts';
import { type Command, type ExitCode, Misuse, oneOf, readArguments } from './command.ts';
import { explainQuestion, explanationJson } from './explanation.ts';
import { explanationText } from './explanation-text.ts';
import { painterFor } from './paint.ts';
import { loadPolicySource, withPolicies } from './policy-source.ts';
import { parseTime } from './times.ts';

const options = {
  config: { type: 'string' },
  policies: { type: 'string', multiple: true, default: [] as string[] },
  client: { type: 'string' },
  user: { type: 'string' },
  namespace: { type: 'string' },
  'pod-labels': { type: 'string' },
  'namespace-labels': { type: 'string' },
  'service-account': { type: 'string' },
  to: { type: 'string' },
  address: { type: 'string', multiple: true, default: [] as string[] },
  method: { type: 'string' },
  path: { type: 'string' },
  sni: { type: 'string' },
  at: { type: 'string' },
  all: { type: 'boolean', default: false },
  output: { type: 'string', default: 'text' },
} as const;

export const explain: Command = {
  name: 'explain',
  summary: 'say what policy decides for a client and a destination, and why',
  help: `Usage: sallyport explain --config FILE | --policies FILE… --client ADDRESS --to HOST:PORT [OPTION]…

Prints the decision with every rule that was considered and what kept it from deciding; for a denial the rule that came
nearest, and a policy that, added to these, allows exactly this. Offline: no name is looked up. For a name without
--address, it says what holds by name and what would hold for an ordinary public address.

  --config FILE              a gateway's configuration, with the policies it names
  --policies FILE…           policy files, or folders of them; with --config, in place of the policies it names
  --client ADDRESS           the client's address; a Workload of the policies that has it is the client's workload
  --user USER                the user the client has proved to be
  --namespace NAME           the client is a pod of this namespace, with
  --pod-labels KEY=VALUE,…   these labels,
  --namespace-labels KEY=VALUE,…
                             its namespace having these beside kubernetes.io/metadata.name, and
  --service-account NAME     this service account (default: default)
  --to HOST:PORT             what it asks for; IPv6 in brackets
  --address IP…              what the name resolves to
  --method M, --path P       the request, where the gateway sees it (plain HTTP)
  --sni NAME                 the server name that a TLS client sends; empty for none
  --at TIME                  as of this time, such as 2027-01-31T18:00:00Z; now by default
  --all                      list rules about other destinations and policies for other clients in full
  --output text|json         for people (default) or for programs

The gateway's other interfaces are not known here: with --config, its listeners are refused as the gateway does, its
host's other addresses are not.

Exit codes: 0 allow, 1 deny, 2 misuse, or policies with errors.
`,
  async run(argv, parts) {
    const { values, positionals } = readArguments(
      spreadLists(argv, options, ['policies', 'address']),
      options,
    );
    if (positionals.length > 0) throw new Misuse(`no operands wanted, got ${JSON.stringify(positionals[0])}`);
    const asked = readQuestion(values);
    const output = oneOf('output', values.output, ['text', 'json']);
    return withPolicies(parts, async (): Promise<ExitCode> => {
      const source = await loadPolicySource(values.config, values.policies);
      const { facts, addresses, ...rest } = asked;
      const question = { ...rest, client: clientOf(source.policy, facts) };
      const explanation = await explainQuestion(source, question, addresses);
      const text = () => explanationText(explanation, painterFor(parts.stdout), values.all);
      parts.stdout.write(output === 'json' ? explanationJson(explanation) : text());
      return explanation.whole.decision.verdict === 'allow' ? 0 : 1;
    });
  },
};

type Values = ReturnType<typeof readArguments<typeof options>>['values'];

/** The question without its client, who may be a workload that the policies' files name. */
interface Asked extends Omit<Question, 'client'> {
  readonly facts: ClientFacts;
  readonly addresses: readonly IpAddress[];
}

function readQuestion(values: Values): Asked {
  if (values.config === undefined && values.policies.length === 0)
    throw new Misuse('no policies given, try --config FILE or --policies FILE');
  if (values.to === undefined) throw new Misuse('no destination given, try --to api.example.com:443');
  const destination = parseAuthority(values.to);
  if (destination.kind === 'error') throw new Misuse(`--to: ${destination.message}`);
  const addresses = values.address.map(text => addressOf('address', text));
  if (destination.kind === 'address' && addresses.length > 0)
    throw new Misuse('--address is for names, and --to is an address already');
  const { method, path = '/', sni } = values;
  if (values.path !== undefined && method === undefined) throw new Misuse('--path needs --method');
  return {
    facts: clientFacts(values),
    destination,
    addresses,
    protocol: 'TCP',
    nowMs: timeOf(values.at),
    ...(method !== undefined && { http: { method, path } }),
    ...(sni !== undefined && { sni: sni === '' ? null : sni }),
  };
}

function clientFacts(values: Values): ClientFacts {
  if (values.client === undefined) throw new Misuse('no client given, try --client 10.1.2.3');
  const { namespace, user = null } = values;
  const labels = labelsOf('pod-labels', values['pod-labels']);
  const namespaceLabels = labelsOf('namespace-labels', values['namespace-labels']);
  const serviceAccount = values['service-account'];
  if (namespace === undefined && (labels ?? namespaceLabels ?? serviceAccount) !== undefined)
    throw new Misuse('labels and service account need --namespace');
  const workload = namespace === undefined ? null : { namespace, labels, namespaceLabels, serviceAccount };
  return { address: addressOf('client', values.client), user, workload };
}

function addressOf(option: string, text: string) {
  const address = parseClientAddress(text);
  if (address === null) throw new Misuse(`--${option} takes an address, got ${JSON.stringify(text)}`);
  return address;
}

function labelsOf(option: string, text: string | undefined): Record<string, string> | undefined {
  const labels = text === undefined ? undefined : parseLabels(text);
  if (labels === null) throw new Misuse(`--${option} takes key=value,…, got ${JSON.stringify(text)}`);
  return labels;
}

function timeOf(text: string | undefined): number {
  const ms = text === undefined ? Date.now() : parseTime(text);
  if (ms === null)
    throw new Misuse(`--at takes a time such as 2027-01-31T18:00:00Z, got ${JSON.stringify(text)}`);
  return ms;
}
