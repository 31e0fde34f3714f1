// Host patterns: an exact name, `*.example.com` for one or more whole labels before it, or `*`.
// A pattern never stands for an address, and never for the apex it is written under: what a reader could
// take to mean more than it does is refused with the spelling that says it.

import { parseAddress, parseCidr } from './address.ts';
import { normaliseName } from './destination.ts';
import { quote } from './quote.ts';

export interface HostPattern {
  /** `exact`: this name. `suffix`: one or more labels, a dot, then this name. `any`: every name. */
  readonly kind: 'exact' | 'suffix' | 'any';
  /** The normalised name; empty for `any`. */
  readonly name: string;
  /** The pattern in normalised spelling. */
  readonly text: string;
}

export interface PatternError {
  readonly kind: 'error';
  readonly message: string;
  readonly remedy: string;
}

export function parseHostPattern(text: string): HostPattern | PatternError {
  if (text === '*') return { kind: 'any', name: '', text };
  const address = addressMistake(text);
  if (address !== null) return address;
  const isSuffix = text.startsWith('*.');
  const rest = isSuffix ? text.slice(2) : text;
  if (rest.includes('*')) return wildcardMistake(text);
  const name = normaliseName(rest);
  if (typeof name !== 'string') {
    return problem(`not a host name: ${name.message}`, 'write a name, *.name or *');
  }
  return isSuffix ? { kind: 'suffix', name, text: `*.${name}` } : { kind: 'exact', name, text: name };
}

/** Whether the pattern stands for this normalised name. */
export function hostPatternMatches(pattern: HostPattern, name: string): boolean {
  if (pattern.kind === 'any') return true;
  if (pattern.kind === 'exact') return pattern.name === name;
  return name.length > pattern.name.length + 1 && name.endsWith(`.${pattern.name}`);
}

function addressMistake(text: string): PatternError | null {
  const bare = text.replace(/^\[(.*)\]$/, '$1');
  const address = parseAddress(bare);
  if (address !== null) {
    const cidr = `${address.text}/${address.family === 4 ? 32 : 128}`;
    return problem('an address is matched by cidr, never by host', `write cidr: ${cidr}`);
  }
  if (parseCidr(bare) !== null)
    return problem('a block is matched by cidr, never by host', `write cidr: ${bare}`);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    return problem('a URL is no host', `write the host of ${quote(text)} alone`);
  const port = /^([^:]+):(\d+)$/.exec(text);
  return port && problem('a host has no port', `write host: ${port[1]} and ports: [${port[2]}]`);
}

function wildcardMistake(text: string): PatternError {
  const name = /^\*+\.?([^*]+)$/.exec(text)?.[1]?.replace(/^\.+/, '');
  return problem(
    'a wildcard stands only for whole labels at the front',
    name === undefined
      ? 'write a name, *.name or *'
      : `write *.${name} for every name under ${name}, and ${name} itself beside it if it is meant too`,
  );
}

function problem(message: string, remedy: string): PatternError {
  return { kind: 'error', message, remedy };
}
