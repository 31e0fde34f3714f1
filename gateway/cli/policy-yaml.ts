// Policies as YAML text for people: one entry on a line, with comments. It writes what it is given and checks nothing;
// whoever proposes a policy reads it back.

export interface WrittenEntry {
  /** A host pattern or a CIDR block, as text. */
  readonly text: string;
  readonly comment?: string;
}

export interface WrittenRule {
  readonly name: string;
  readonly hosts: readonly WrittenEntry[];
  readonly cidrs: readonly WrittenEntry[];
  readonly ports: readonly number[];
  readonly resolvesTo?: readonly WrittenEntry[];
  readonly http?: object;
  readonly tls?: object;
  readonly comment?: string;
}

export interface WrittenPolicy {
  readonly kind: 'ClusterEgressPolicy' | 'EgressPolicy';
  readonly metadata: { readonly name: string; readonly namespace?: string };
  /** Fields of `spec` before its rules, in order. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** All of them Allow. */
  readonly rules: readonly WrittenRule[];
  /** Lines above the document. */
  readonly comments: readonly string[];
}

/** The document, its last line ended. */
export function policyYaml({ kind, metadata, spec, rules, comments }: WrittenPolicy): string {
  const lines = [
    ...comments.map(commentLine),
    'apiVersion: sallyport.dev/v1alpha1',
    `kind: ${kind}`,
    `metadata: ${flow(metadata)}`,
    'spec:',
    ...Object.entries(spec).map(([key, value]) => `  ${key}: ${flow(value)}`),
    '  rules:',
    ...rules.flatMap(ruleLines),
  ];
  return `${lines.join('\n')}\n`;
}

function ruleLines({ name, hosts, cidrs, ports, resolvesTo, http, tls, comment }: WrittenRule): string[] {
  return [
    ...(comment === undefined ? [] : [`  ${commentLine(comment)}`]),
    `  - name: ${flow(name)}`,
    '    action: Allow',
    '    to:',
    ...hosts.map(entry => entryLine(flow({ host: entry.text }), entry)),
    ...cidrs.map(entry => entryLine(flow({ cidr: entry.text }), entry)),
    `    ports: ${flow(ports)}`,
    ...(http === undefined ? [] : [`    http: ${flow(http)}`]),
    ...(tls === undefined ? [] : [`    tls: ${flow(tls)}`]),
    ...(resolvesTo === undefined
      ? []
      : ['    resolvesTo:', ...resolvesTo.map(entry => entryLine(flow(entry.text), entry))]),
  ];
}

function entryLine(text: string, { comment }: WrittenEntry): string {
  return `    - ${text}${comment === undefined ? '' : `  ${commentLine(comment)}`}`;
}

/** A comment of one line, whatever the text holds. */
export function commentLine(text: string): string {
  return `# ${text.replace(/[^\x20-\x7e]/g, '?')}`;
}

/** A value in YAML's flow style. */
function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value === 'string') return scalar(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const pairs = Object.entries(value).map(([key, part]) => `${scalar(key)}: ${flow(part)}`);
  return `{${pairs.join(', ')}}`;
}

/** Names and IPv4 blocks as they are, what YAML could take for something else in quotes. */
function scalar(text: string): string {
  const isName = /^[A-Za-z][A-Za-z0-9]*([./_-][A-Za-z0-9]+)*$/.test(text);
  const isReserved = /^(true|false|null|yes|no|on|off|y|n)$/i.test(text);
  const isBlock = /^\d+\.\d+\.\d+\.\d+\/\d+$/.test(text);
  return (isName && !isReserved) || isBlock ? text : quoted(text);
}

/** YAML 1.2 section 5.7: JSON's escapes, and \U for what lies beyond the basic plane. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e]/gu, character => {
    const code = character.codePointAt(0)!.toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, '0')}` : `\\u${code.padStart(4, '0')}`;
  });
}
