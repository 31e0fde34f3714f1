// What the Kubernetes API answers: one JSON value, a refusal, or the events of a watch, one line each. It sends nothing.
//
// Watches are read here and not by the library's `Watch`: that one swallows lines it cannot parse and exceptions of
// its callback, so that an event is lost and nobody knows, and takes a line of any length.
//
// Threats: an answer without end (every one has a bound); an answer that is garbage (an error, never passed over); text
// of the server in a log (printable ASCII, and cut). No cause is kept in an error: those of sockets know more than a
// message may tell.

import type { Readable } from 'node:stream';
import { plainAscii } from '../config/policy/quote.ts';
import { ApiError, type WatchEvent } from './api.ts';

/** Of one answer. A page of 500 pods has about 4 MiB. */
const largestAnswerBytes = 64 * 1024 ** 2;

/** Of one line of a watch. An object in etcd has at most about 1.5 MiB. */
const largestLineBytes = 8 * 1024 ** 2;

/** Of the text of a refusal, of which a message is made. */
const largestRefusalBytes = 64 * 1024;

/** The reason of an answer over its bound; a smaller page may fit. */
export const answerTooLarge = 'AnswerTooLarge';

/** The reason of an answer that cannot be read. */
export const invalidAnswer = 'InvalidAnswer';

/**
 * @param name of the call, for messages: method and path
 * @throws ApiError where it is no JSON, too large, or does not come whole
 */
export async function jsonOf(body: Readable, name: string): Promise<unknown> {
  const text = await textOf(body, largestAnswerBytes, name);
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(0, invalidAnswer, `${name}: the answer is not JSON`);
  }
}

/** The `metav1.Status` of a refusal as an error. */
export async function refusalOf(status: number, body: Readable, name: string): Promise<ApiError> {
  const text = await textOf(body, largestRefusalBytes, name).catch(() => '');
  return statusError(status, jsonOrNull(text), name);
}

/** What kept the call from being answered. */
export function notAnswered(error: unknown, name: string): ApiError {
  if (error instanceof ApiError) return error;
  const { name: kind, message } = error as Error;
  const reason = kind === 'TimeoutError' ? 'no answer in time' : plainAscii(message, 200);
  return new ApiError(0, '', `${name}: ${reason}`);
}

/**
 * The events of a watch until the server ends it.
 * @throws ApiError for a line that is no event, one that is too long, and with the status of an ERROR
 */
export async function* eventsOf(body: Readable, name: string): AsyncGenerator<WatchEvent> {
  for await (const line of linesOf(body, name)) {
    const event = eventOf(jsonOrNull(line));
    if (event === null) throw new ApiError(0, invalidAnswer, `${name}: a line of the watch is no event`);
    if (event.type === 'ERROR') throw statusError(codeOf(event.object), event.object, name);
    yield event;
  }
}

async function textOf(body: Readable, largest: number, name: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(body, name)) {
    bytes += chunk.length;
    if (bytes > largest) throw new ApiError(0, answerTooLarge, `${name}: more than ${largest} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

async function* chunksOf(body: Readable, name: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of body) yield chunk as Buffer;
  } catch (error) {
    throw notAnswered(error, name);
  }
}

const newline = 10;

/** Whole lines. The end in the middle of one is an error: the server ends a watch between two. */
async function* linesOf(body: Readable, name: string): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(body, name)) {
    let from = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      yield Buffer.concat([...parts, chunk.subarray(from, end)]).toString();
      parts = [];
      bytes = 0;
      from = end + 1;
    }
    parts.push(chunk.subarray(from));
    bytes += chunk.length - from;
    if (bytes > largestLineBytes)
      throw new ApiError(0, answerTooLarge, `${name}: a line of more than ${largestLineBytes} bytes`);
  }
  if (bytes > 0) throw new ApiError(0, invalidAnswer, `${name}: the watch ended in the middle of a line`);
}

const eventTypes = new Set<unknown>(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);

function eventOf(value: unknown): WatchEvent | null {
  const { type, object } = (value ?? {}) as Partial<WatchEvent>;
  return eventTypes.has(type) && typeof object === 'object' && object !== null ? (value as WatchEvent) : null;
}

function codeOf(status: unknown): number {
  const { code } = status as { code?: unknown };
  return typeof code === 'number' ? code : 0;
}

function statusError(code: number, status: unknown, name: string): ApiError {
  const { reason: rawReason, message: rawMessage } = (status ?? {}) as Record<string, unknown>;
  const reason = typeof rawReason === 'string' ? plainAscii(rawReason, 64) : '';
  const message = typeof rawMessage === 'string' ? plainAscii(rawMessage, 300) : '';
  return new ApiError(code, reason, `${name}: ${[code, reason, message].filter(Boolean).join(' ')}`);
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
