// URLs of reflectors, which answer with the address they see: parsed once, as strictly as destinations are. It asks none.

import { type Destination, destinationFor, formatAuthority, parseAuthority } from './policy/destination.ts';

export interface ReflectorUrl {
  readonly scheme: 'http' | 'https';
  readonly destination: Destination;
  /** The Host field: normalised, without the scheme's own port. */
  readonly authority: string;
  /** Path and query, as they are sent. */
  readonly path: string;
  /** For messages and /egress-addresses: without the query, which may hold a key. */
  readonly text: string;
}

interface Refusal {
  readonly message: string;
  readonly remedy: string;
}

/** RFC 3986 in the part that is needed: no user information, no fragment, printable ASCII. */
const form = /^(https?):\/\/([^/?#]+)(\/[!-~]*?)?(\?[!-~]*)?$/;
const longest = 2_000;

const remedy = 'write a URL such as https://reflector.example.com/ or http://192.0.2.53:8080/';

/** The URL, or why it is none; what is said of it repeats none of it, since it may hold a password. */
export function parseReflectorUrl(url: string): ReflectorUrl | Refusal {
  const isFit = url.length <= longest && !url.includes('#');
  const [, scheme, authority, path = '/', query = ''] = (isFit && form.exec(url)) || [];
  if (scheme === undefined) return { message: 'not the URL of a reflector', remedy };
  if (authority!.includes('@'))
    return { message: 'credentials do not belong into the URL of a reflector', remedy: 'leave them out' };
  const ownPort = scheme === 'https' ? 443 : 80;
  const hasPort = /:[^\]]*$/.test(authority!);
  const destination = hasPort ? parseAuthority(authority!) : destinationFor(authority!, ownPort);
  if (destination.kind === 'error') return { message: 'not a host, or host and port', remedy };
  const host = hostField(destination, ownPort);
  return {
    scheme: scheme as 'http' | 'https',
    destination,
    authority: host,
    path: path + query,
    text: `${scheme}://${host}${path}`,
  };
}

function hostField(destination: Destination, ownPort: number): string {
  const authority = formatAuthority(destination);
  return destination.port === ownPort ? authority.slice(0, authority.lastIndexOf(':')) : authority;
}
