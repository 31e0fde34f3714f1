// Finds a client's records and shows that there are no more of them than there should be.
// It waits for what must come; for what must not come it sends a session afterwards and waits for that one's record.

import type { Gateway } from './gateway.ts';
import { openRaw, type RawClient } from './raw-client.ts';
import type { SessionRecord } from './session-record.ts';
import { eventually } from './waiting.ts';

export interface ClientEnd {
  address: string;
  port: number;
}

const isOf = (end: ClientEnd) => (record: SessionRecord) =>
  record.event === 'session' && record.client.port === end.port && record.client.address === end.address;

/** Sends one session that is refused at once, and waits for its record: records of sessions that ended before are out. */
async function flushed(gateway: Gateway): Promise<void> {
  const marker = await openRaw({ port: gateway.proxy, from: '127.99.99.99' });
  const end = marker.local;
  await marker.send('CONNECT marker:0 HTTP/1.1\r\n\r\n').ending();
  await gateway.waitForRecord(isOf(end));
  await marker.close();
}

/** The records of one client connection, exactly `count` of them; throws when there are more or fewer. */
export async function recordsOf(gateway: Gateway, end: ClientEnd, count: number): Promise<SessionRecord[]> {
  const found = () => gateway.records().filter(isOf(end));
  const enough = () => found().length >= count || undefined;
  const seen = () =>
    gateway
      .records()
      .slice(-3)
      .map(record => JSON.stringify(record))
      .join('\n');
  await eventually(enough, `${count} records of ${end.address}:${end.port}`, seen);
  await flushed(gateway);
  if (found().length === count) return found();
  throw new Error(`wanted ${count} records, got ${found().length}: ${JSON.stringify(found())}`);
}

/** The one record of a client connection. */
export async function recordOf(gateway: Gateway, client: RawClient | ClientEnd): Promise<SessionRecord> {
  const [record] = await recordsOf(gateway, 'local' in client ? client.local : client, 1);
  return record!;
}
