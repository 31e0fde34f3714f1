// Destinations: the text a client sent, parsed once into one normalised value.
// It refuses whatever two programs could read differently: short, octal and hexadecimal IPv4, escapes,
// zone identifiers, user information, and names that turn into addresses on the way. It resolves nothing.

import { domainToASCII } from 'node:url';
import { type IpAddress, parseAddress } from './address.ts';
import { quote } from './quote.ts';

export interface Destination {
  readonly kind: 'name' | 'address';
  /** A lower-case ASCII name without trailing dot, or canonical address text without brackets. */
  readonly host: string;
  /** The address of an address literal; null for a name. */
  readonly address: IpAddress | null;
  /** 1 to 65535. */
  readonly port: number;
}

export type DestinationErrorCode =
  | 'HOST_EMPTY'
  | 'HOST_INVALID'
  | 'HOST_IS_ADDRESS'
  | 'LABEL_EMPTY'
  | 'LABEL_TOO_LONG'
  | 'NAME_TOO_LONG'
  | 'PERCENT'
  | 'PORT_INVALID'
  | 'PORT_MISSING'
  | 'USERINFO'
  | 'BRACKETS'
  | 'ZONE';

/** Why a text is no destination. `code` is stable; `message` says what was wanted and what was given. */
export interface DestinationError {
  readonly kind: 'error';
  readonly code: DestinationErrorCode;
  readonly message: string;
}

const longestName = 253;
const longestLabel = 63;

/** `host:port` or `[IPv6]:port`, as in CONNECT (RFC 9110 section 7.2); the port is required. */
export function parseAuthority(text: string): Destination | DestinationError {
  if (text.includes('@')) return failure('USERINFO', 'a host and port without user information', text);
  const colon = text.lastIndexOf(':');
  const bracket = text.lastIndexOf(']');
  if (colon < 0 || colon < bracket) return failure('PORT_MISSING', 'host:port', text);
  const host = text.slice(0, colon);
  if (host.includes(':') && !host.startsWith('[')) {
    return failure('BRACKETS', 'an IPv6 address in brackets, [address]:port', text);
  }
  const port = parsePort(text.slice(colon + 1));
  if (port === null) return failure('PORT_INVALID', 'a port from 1 to 65535 in decimal digits', text);
  return destinationFor(host, port);
}

/**
 * A bare host, with or without brackets around IPv6, and a port from 1 to 65535.
 * An exact dotted quad or IPv6 address is an address; everything else has to be a name.
 */
export function destinationFor(host: string, port: number): Destination | DestinationError {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    return failure('PORT_INVALID', 'a port from 1 to 65535', String(port));
  }
  if (isPlainName(host)) return { kind: 'name', host, address: null, port };
  const address = parseHostAddress(host);
  if (address !== null) return { kind: 'address', host: address.text, address, port };
  const name = normaliseName(host);
  return typeof name === 'string' ? { kind: 'name', host: name, address: null, port } : name;
}

/** `host:port`, IPv6 in brackets: what `parseAuthority` reads back to the same value. */
export function formatAuthority({ host, address, port }: Destination): string {
  return address?.family === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * A host name as policy compares it: lower case, IDNA to ASCII (RFC 5891), one trailing dot dropped.
 * Labels hold letters, digits, hyphen and underscore, 1 to 63 of them; the whole at most 253.
 */
export function normaliseName(host: string): string | DestinationError {
  const refused = refusedCharacters(host);
  if (refused !== null) return refused;
  const ascii = toAscii(host);
  if (ascii === '') return failure('HOST_INVALID', 'a name that IDNA can write in ASCII', host);
  const name = withoutTrailingDot(ascii);
  return nameProblem(name, host) ?? name;
}

function failure(code: DestinationErrorCode, wanted: string, given: string): DestinationError {
  return { kind: 'error', code, message: `wanted ${wanted}, got ${quote(given)}` };
}

/** One to five decimal digits, 1 to 65535, no sign and no leading zero; null otherwise. */
function parsePort(text: string): number | null {
  if (!/^[1-9]\d{0,4}$/.test(text)) return null;
  const port = Number(text);
  return port <= 65_535 ? port : null;
}

function parseHostAddress(host: string): IpAddress | null {
  if (!host.startsWith('[')) return parseAddress(host);
  const address = host.endsWith(']') ? parseAddress(host.slice(1, -1)) : null;
  return address?.family === 6 ? address : null;
}

/**
 * The fast path: whether the host is already the normalised form of a name. One pass, no allocation.
 * A last label that begins with a digit may be a number, so it takes the slow path.
 */
function isPlainName(host: string): boolean {
  if (host.length === 0 || host.length > longestName) return false;
  let labelStart = 0;
  for (let at = 0; at < host.length; at++) {
    const code = host.charCodeAt(at);
    if (code === 46) {
      if (at === labelStart || at - labelStart > longestLabel) return false;
      labelStart = at + 1;
    } else if (!isNameCode(code)) return false;
  }
  const lastLength = host.length - labelStart;
  const first = host.charCodeAt(labelStart);
  return lastLength > 0 && lastLength <= longestLabel && !(first >= 48 && first <= 57);
}

/** a-z, 0-9, hyphen, underscore. */
function isNameCode(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code === 45 || code === 95;
}

/** Everything that must not reach IDNA: `domainToASCII` decodes percent-escapes and cuts at `/`, `?`, `#`. */
function refusedCharacters(host: string): DestinationError | null {
  if (host === '') return failure('HOST_EMPTY', 'a host', host);
  if (/%/.test(host)) {
    return host.includes(':')
      ? failure('ZONE', 'an address without zone identifier', host)
      : failure('PERCENT', 'a host without percent-escapes', host);
  }
  if (host.includes('@')) return failure('USERINFO', 'a host without user information', host);
  if (host.includes('[') || host.includes(']')) {
    return failure('BRACKETS', 'brackets around an IPv6 address only', host);
  }
  return /[^A-Za-z0-9._\-\u0080-\uffff]/.test(host)
    ? failure('HOST_INVALID', 'letters, digits, hyphens, underscores and dots', host)
    : null;
}

function toAscii(host: string): string {
  // A name over 1,000 units is too long in ASCII as well; IDNA's cost stays bounded.
  if (host.length > 1_000) return host;
  return /[^ -~]/.test(host) ? domainToASCII(host).toLowerCase() : host.toLowerCase();
}

function withoutTrailingDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

function nameProblem(name: string, given: string): DestinationError | null {
  if (name.length > longestName)
    return failure('NAME_TOO_LONG', `a name of at most ${longestName} bytes`, given);
  const labels = name.split('.');
  if (labels.includes('')) return failure('LABEL_EMPTY', 'a name without empty labels', given);
  if (labels.some(label => label.length > longestLabel)) {
    return failure('LABEL_TOO_LONG', `labels of at most ${longestLabel} bytes`, given);
  }
  if (!/^[a-z0-9._-]+$/.test(name))
    return failure('HOST_INVALID', 'a name that IDNA can write in ASCII', given);
  // What the C library and URL parsers read as IPv4: the last label a decimal, octal or hexadecimal number.
  return /^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1)!)
    ? failure('HOST_IS_ADDRESS', 'a name, or an address in its full form', given)
    : null;
}
