// The gateway's own messages, on standard error: JSON for machines, one readable line for a terminal. Never about a
// single session; the decision log has those.

import pino, { type Logger } from 'pino';

export type Messages = Logger;

const levelNames: Record<number, string> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };

/** `12:00:01 warn  kept the old policy  generation=3`; control characters stay escaped. */
function readable(line: string): string {
  const { level, time, msg, ...rest } = JSON.parse(line);
  const facts = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const text = [
    new Date(time).toISOString().slice(11, 19),
    (levelNames[level] ?? 'info').padEnd(5),
    msg,
    ...facts,
  ].join('  ');
  return `${text.replace(/\p{Cc}/gu, ch => JSON.stringify(ch).slice(1, -1))}\n`;
}

/** @param format auto is text on a terminal and JSON elsewhere */
export function createMessages(format: 'auto' | 'text' | 'json'): Messages {
  const options = { base: null, timestamp: pino.stdTimeFunctions.epochTime };
  const text = format === 'text' || (format === 'auto' && process.stderr.isTTY);
  if (!text) return pino(options, pino.destination({ dest: 2, sync: true }));
  return pino(options, { write: line => void process.stderr.write(readable(line)) });
}
