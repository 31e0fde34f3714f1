// The users file: lines `name:hash` as Apache's htpasswd writes them, bcrypt only, into a table.
// It checks no password, reads no file, and never repeats a hash or a line in a message: they are secrets.

import type { Problem } from './policy/compile.ts';

/** Name to bcrypt hash. */
export type UserTable = ReadonlyMap<string, string>;

export interface ParsedUsers {
  /** Whole, or null when any line was refused: half a users file is never in force. */
  readonly users: UserTable | null;
  readonly problems: readonly Problem[];
}

/** bcrypt, 60 characters: version, cost, 22 characters of salt and 31 of digest. */
const bcryptHash = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;

/** The lowest cost that bcrypt knows, and the highest accepted: 15 is about two seconds of a core for each check. */
const costs = { min: 4, max: 15, recommended: 10 };

/** A SOCKS5 user name has at most 255 bytes (RFC 1929, section 2). */
const longestName = 255;

const otherSchemes: readonly (readonly [RegExp, string])[] = [
  [/^\$apr1\$/, 'an apr1 (MD5) hash'],
  [/^\{SHA\}/i, 'an SHA-1 hash'],
  [/^\{SSHA\}/i, 'a salted SHA-1 hash'],
  [/^\$1\$/, 'an MD5 crypt hash'],
  [/^\$5\$/, 'an SHA-256 crypt hash'],
  [/^\$6\$/, 'an SHA-512 crypt hash'],
  [/^\$(y|7|gy)\$/, 'a yescrypt or scrypt hash'],
  [/^\$argon2/, 'an argon2 hash'],
  [/^\$2x\$/, 'a bcrypt hash of the faulty version 2x'],
  [/^\$2/, 'a damaged bcrypt hash'],
  [/^[./A-Za-z0-9]{13}$/, 'a DES crypt hash or a plain password'],
  [/^$/, 'no hash'],
];

/**
 * Parses the text of a users file. Empty lines and lines that start with `#` are skipped; a name stands once.
 * A cost under 10 is a warning (`htpasswd -B` alone takes 5, which a stolen file does not withstand for long).
 */
export function parseUsers(text: string, file: string): ParsedUsers {
  const table = new Map<string, string>();
  const firstLine = new Map<string, number>();
  const problems: Problem[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = raw.trimEnd();
    if (line === '' || line.startsWith('#')) continue;
    const at = { file, line: index + 1, column: 1 };
    const entry = parseLine(line, at);
    if ('message' in entry) problems.push(entry);
    else if (firstLine.has(entry.name)) problems.push(repeated(entry.name, firstLine.get(entry.name)!, at));
    else {
      table.set(entry.name, entry.hash);
      firstLine.set(entry.name, at.line);
      if (entry.cost < costs.recommended) problems.push(cheap(entry.name, entry.cost, at));
    }
  }
  const refused = problems.some(problem => problem.severity === 'error');
  return { users: refused ? null : table, problems };
}

type Place = Pick<Problem, 'file' | 'line' | 'column'>;

function parseLine(line: string, at: Place): { name: string; hash: string; cost: number } | Problem {
  const colon = line.indexOf(':');
  if (colon < 0) return problem(at, 'line without a colon, wanted name:hash');
  const name = line.slice(0, colon);
  const wrongName = nameFault(name);
  if (wrongName) return problem(at, wrongName);
  const hash = line.slice(colon + 1);
  const atHash = { ...at, column: colon + 2 };
  const match = bcryptHash.exec(hash);
  if (!match) return problem(atHash, `user ${JSON.stringify(name)} has ${schemeOf(hash)}, wanted bcrypt`);
  const cost = Number(match[1]);
  if (cost < costs.min || cost > costs.max)
    return problem(
      atHash,
      `user ${JSON.stringify(name)} has a bcrypt cost of ${cost}, wanted ${costs.min} to ${costs.max}`,
    );
  return { name, hash, cost };
}

function nameFault(name: string): string | null {
  if (name === '') return 'empty user name, wanted name:hash';
  if (name !== name.trim()) return 'user name with a space at its start or end, wanted name:hash';
  if (/\p{Cc}/u.test(name)) return 'user name with a control character, wanted printable characters';
  const bytes = Buffer.byteLength(name);
  return bytes > longestName ? `user name of ${bytes} bytes, wanted at most ${longestName}` : null;
}

function schemeOf(hash: string): string {
  return otherSchemes.find(([pattern]) => pattern.test(hash))?.[1] ?? 'a plain password or an unknown hash';
}

function problem(at: Place, message: string): Problem {
  return { ...at, severity: 'error', message, remedy: 'try `htpasswd -B -C 12 FILE NAME`' };
}

function repeated(name: string, line: number, at: Place): Problem {
  const message = `user ${JSON.stringify(name)} stands here and on line ${line}, wanted each name once`;
  return { ...at, severity: 'error', message, remedy: 'try removing the line that is out of date' };
}

function cheap(name: string, cost: number, at: Place): Problem {
  const message = `user ${JSON.stringify(name)} has a bcrypt cost of ${cost}, wanted ${costs.recommended} or more`;
  return { ...at, severity: 'warning', message, remedy: 'try `htpasswd -B -C 12 FILE NAME`' };
}
