// The head of the requests that are most of all: GET or HEAD of an absolute URL, whole, without a body, on a connection
// that is to be kept. Anything else, malformed heads included, is null: Node's parser reads it then, and answers it.
// What it accepts, Node's parser accepts in the same words. It knows no socket and no policy.

import { type RawFields, tryFieldLine } from './http-fields.ts';

export interface DirectHead {
  method: string;
  /** In absolute form. */
  target: string;
  fields: DirectFields;
  /** Where the head ends and what follows it begins. */
  end: number;
}

/** Field lines, and what they say: a client sends the same ones again and again. */
export interface DirectFields {
  readonly text: string;
  readonly raw: RawFields;
}

const requestLine = /^(GET|HEAD) (http:\/\/[\x21-\x7e]+) HTTP\/1\.1$/;

/** Those that need more than this file knows. */
const notDirect = new Set(['content-length', 'transfer-encoding', 'expect', 'upgrade', 'trailer']);

/** @param known of the request before, or null */
export function readDirectHead(
  bytes: Buffer,
  mostBytes: number,
  known: DirectFields | null,
): DirectHead | null {
  const end = bytes.indexOf('\r\n\r\n', 0, 'latin1');
  if (end < 0 || end + 4 > mostBytes) return null;
  const text = bytes.toString('latin1', 0, end);
  const lineEnd = text.indexOf('\r\n');
  const line = requestLine.exec(lineEnd < 0 ? text : text.slice(0, lineEnd));
  if (line === null) return null;
  const fieldText = lineEnd < 0 ? '' : text.slice(lineEnd + 2);
  const fields = known !== null && known.text === fieldText ? known : readFields(fieldText);
  return fields && { method: line[1]!, target: line[2]!, fields, end: end + 4 };
}

function readFields(text: string): DirectFields | null {
  const raw: string[] = [];
  if (text !== '')
    for (const line of text.split('\r\n')) {
      const field = tryFieldLine(line);
      if (field === null || !isDirect(field[0].toLowerCase(), field[1])) return null;
      raw.push(field[0], field[1]);
    }
  return { text, raw };
}

const isDirect = (name: string, value: string) =>
  name === 'connection' ? value.toLowerCase() === 'keep-alive' : !notDirect.has(name);
