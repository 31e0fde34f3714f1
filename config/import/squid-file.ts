// A squid.conf as lines that mean something here: access lists, access rules, and what would change their meaning.
// It reads no other file, so one that includes others is refused.

import type { Notes, Place } from './notes.ts';
import type { AclLine } from './squid-acl.ts';

export interface AccessLine {
  readonly action: 'Allow' | 'Deny';
  readonly words: readonly string[];
  readonly place: Place;
}

export interface SquidFile {
  readonly lists: readonly AclLine[];
  readonly access: readonly AccessLine[];
}

interface Line {
  readonly directive: string;
  readonly words: readonly string[];
  readonly place: Place;
}

/** What decides beside `http_access`. */
const furtherAccess = ['adapted_http_access', 'http_reply_access', 'miss_access'];

/** Parts of the meaning that are not about who may reach what. */
const leftToOthers: Record<string, string> = {
  tcp_outgoing_address: 'give source addresses in egress.sourceAddresses of the configuration',
  cache_peer: 'the gateway connects by itself',
  follow_x_forwarded_for: 'src is the client that connects, whatever it says of others',
  ssl_bump: 'tunnels are never opened here',
};

export function readSquidFile(text: string, file: string, notes: Notes): SquidFile {
  const lists: AclLine[] = [];
  const access: AccessLine[] = [];
  for (const line of linesOf(text, file)) {
    const { directive, words, place } = line;
    const [first, second, ...rest] = words;
    if (directive === 'acl' && first !== undefined && second !== undefined)
      lists.push({ name: first, type: second, values: rest, place });
    else if (directive === 'http_access') readAccess(line, access, notes);
    else sayOther(line, notes);
  }
  return { lists, access };
}

function readAccess({ words: [action, ...words], place }: Line, access: AccessLine[], notes: Notes): void {
  if ((action === 'allow' || action === 'deny') && words.length > 0)
    access.push({ action: action === 'allow' ? 'Allow' : 'Deny', words, place });
  else notes.failed(place, 'not an access line', 'write http_access allow or deny, and access lists');
}

function sayOther({ directive, words, place }: Line, notes: Notes): void {
  if (['include', 'if', 'else', 'endif'].includes(directive))
    notes.failed(
      place,
      `${directive}: what it brings may deny more`,
      'give one file with the lines in their order',
    );
  else if (furtherAccess.includes(directive) && words.join(' ') !== 'allow all')
    sayFurtherAccess(directive, place, notes);
  else if (leftToOthers[directive] !== undefined) notes.leftOut(place, directive, leftToOthers[directive]);
}

function sayFurtherAccess(directive: string, place: Place, notes: Notes): void {
  if (notes.options.wider) notes.wider(place, `${directive} is gone`, 'nothing');
  else
    notes.failed(
      place,
      `${directive} may deny more, and has no like here`,
      'remove it, or go on without it with --wider',
    );
}

/** Without comments; a backslash at its end carries a line on. */
function* linesOf(text: string, file: string): Generator<Line> {
  let pending = '';
  let started = 0;
  for (const [at, raw] of text.split(/\r?\n/).entries()) {
    if (pending === '') started = at + 1;
    const joined = `${pending}${raw.replace(/(^|\s)#.*$/, '')}`;
    if (joined.endsWith('\\')) {
      pending = `${joined.slice(0, -1)} `;
      continue;
    }
    pending = '';
    const words = joined.trim().match(/"[^"]*"|\S+/g) ?? [];
    const column = joined.search(/\S/) + 1;
    const [directive, ...rest] = words;
    if (directive !== undefined) yield { directive, words: rest, place: { file, line: started, column } };
  }
}
