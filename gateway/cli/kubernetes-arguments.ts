// Words of Kubernetes on the command line: names, labels, ports, blocks and addresses, checked as the API server checks
// them, so that what is printed can be applied. Each throws Misuse with the option and what was given.

import { cidrProblem, parseCidr } from '../../config/policy/address.ts';
import { nameSchema } from '../../config/policy/schema-parts.ts';
import { parseClientAddress, parseLabels } from './client-facts.ts';
import { Misuse } from './command.ts';

type Labels = Readonly<Record<string, string>>;

/** RFC 1123 label: a namespace. */
export function namespaceOf(option: string, text: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw wrong(option, 'the name of a namespace (RFC 1123 label: lower case, digits, -, at most 63)', text);
}

/** RFC 1123 subdomain: most other objects. */
export function objectNameOf(option: string, text: string): string {
  if (nameSchema.safeParse(text).success) return text;
  throw wrong(option, 'a name of lower case, digits, - and . (RFC 1123 subdomain)', text);
}

/** `key=value,…`, at least one: an empty selector would select everything. */
export function labelsOf(option: string, text: string): Labels {
  const labels = parseLabels(text);
  if (labels === null) throw wrong(option, 'labels such as app.kubernetes.io/name=web,tier=front', text);
  for (const [key, value] of Object.entries(labels)) {
    if (!isLabelKey(key)) throw wrong(option, 'keys such as app or example.com/app, each part up to 63', key);
    if (!isLabelValue(value))
      throw wrong(option, 'values of letters, digits, -, _ and ., at most 63, no mark at the ends', value);
  }
  return labels;
}

function isLabelKey(key: string): boolean {
  const [, prefix, name] = /^(?:([^/]*)\/)?([^/]+)$/.exec(key) ?? [];
  const isPrefix = prefix === undefined || nameSchema.safeParse(prefix).success;
  return isPrefix && name !== undefined && isLabelValue(name);
}

function isLabelValue(text: string): boolean {
  return /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/.test(text);
}

export function portOf(option: string, text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw wrong(option, 'a port from 1 to 65535', text);
}

/** A block in canonical text. One of everything is refused: it opens the door that these policies close. */
export function blockOf(option: string, text: string): string {
  const cidr = parseCidr(text);
  if (cidr === null) {
    const { message, remedy } = cidrProblem(text)!;
    throw new Misuse(`--${option} ${JSON.stringify(text)}: ${message}; ${remedy}`);
  }
  if (cidr.prefix === 0) throw new Misuse(`--${option} ${cidr.text} would let pods connect to everything`);
  return unmapped(option, cidr.text);
}

/** An address as the block of it alone. */
export function singleBlockOf(option: string, text: string): string {
  const address = parseClientAddress(text);
  if (address === null) throw wrong(option, 'an IPv4 or IPv6 address', text);
  return unmapped(option, `${address.text}/${address.family === 4 ? 32 : 128}`);
}

/** The API server takes no IPv4 address in the spelling of IPv6. */
function unmapped(option: string, text: string): string {
  if (text.includes(':') && text.includes('.')) throw wrong(option, 'IPv4 without ::ffff:', text);
  return text;
}

export function wholeNumberOf(option: string, text: string, least: number, most: number): number {
  if (/^\d{1,6}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
  throw wrong(option, `a number from ${least} to ${most}`, text);
}

/** Each value once, in the order given; more than `most` are refused. */
export function listOf<T>(
  option: string,
  texts: readonly string[],
  most: number,
  read: (option: string, text: string) => T,
): T[] {
  const values = new Map(texts.map(text => read(option, text)).map(value => [JSON.stringify(value), value]));
  if (values.size > most) throw new Misuse(`--${option} takes at most ${most} values, got ${values.size}`);
  return [...values.values()];
}

function wrong(option: string, wanted: string, given: string): Misuse {
  return new Misuse(`--${option} takes ${wanted}, got ${JSON.stringify(given)}`);
}
