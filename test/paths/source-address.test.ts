// Where connections leave from: the configured source address on every path, stable for a client, and never a shortage
// of local ports as long as (source, destination, port) leaves one free.

import test from 'ava';
import { startGateway } from '../support/gateway.ts';
import { connect, get } from '../support/http-client.ts';
import { httpOrigin, webSocketOrigin } from '../support/http-origins.ts';
import { during } from '../support/lifetime.ts';
import { hasNamespaces, runInNamespace } from '../support/network-namespace.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { serving } from '../support/serving.ts';
import { socksConnect } from '../support/socks-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import { webSocketThrough } from '../support/web-socket-client.ts';
import type { OwnAddress } from './own-address.ts';
import type { Exhaustion } from './port-exhaustion.ts';

const on = serving(test, () => ({ config: { egress: { sourceAddresses: ['127.0.0.50'] } } }));

test('CONNECT, SOCKS5 and plain HTTP leave from the configured address, and the record says from which port', async t => {
  const echo = during(t, await echoOrigin());
  const web = during(t, await httpOrigin());
  const tunnel = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(tunnel, echo.authority)).status, 200);
  const socks = await connectRaw(t, { port: on.gateway.socks });
  const reply = await socksConnect(socks, '127.0.0.1', echo.port);
  t.is(reply.address.join('.'), '127.0.0.50');
  const request = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await get(request, web.url('/'))).status, 200);
  for (const client of [tunnel, socks]) await client.end().readAll();
  const sources = [
    (await recordOf(on.gateway, tunnel)).source,
    (await recordOf(on.gateway, socks)).source,
    (await recordOf(on.gateway, request)).source,
  ];
  t.deepEqual(sources, [...echo.peers, ...web.peers]);
  for (const source of sources) t.is(source.address, '127.0.0.50');
});

test('a WebSocket leaves from the configured address', async t => {
  const origin = during(t, await webSocketOrigin());
  await webSocketThrough(t, on.gateway.proxy, `ws://${origin.authority}/`);
  t.is(origin.peers[0]!.address, '127.0.0.50');
});

test('of several source addresses a client keeps one, and clients are spread over all', async t => {
  const sourceAddresses = ['127.0.0.51', '127.0.0.52', '127.0.0.53'];
  const gateway = during(
    t,
    await startGateway({ policies: [allowLoopback], config: { egress: { sourceAddresses } } }),
  );
  const origin = during(t, await echoOrigin());
  const sourceOf = async (from: string) => {
    const client = await connectRaw(t, { port: gateway.proxy, from });
    t.is((await connect(client, origin.authority)).status, 200);
    await client.end().readAll();
    return (await recordOf(gateway, client)).source.address!;
  };
  const seen = new Set<string>();
  for (let i = 1; i <= 30; i++) {
    const first = await sourceOf(`127.57.0.${i}`);
    t.is(await sourceOf(`127.57.0.${i}`), first);
    seen.add(first);
  }
  t.deepEqual([...seen].toSorted(), sourceAddresses);
});

test('a destination of a family without a source address is refused, never dialled from elsewhere', async t => {
  const origin = during(t, await echoOrigin('::1'));
  const client = await connectRaw(t, { port: on.gateway.proxy });
  t.is((await connect(client, origin.authority)).status, 503);
  t.is((await recordOf(on.gateway, client)).close.reason, 'no-source-address');
  t.is(origin.peers.length, 0);
});

test('a source address that this host does not have is refused, never replaced', async t => {
  const config = { egress: { sourceAddresses: ['203.0.113.77'] } };
  const gateway = during(t, await startGateway({ policies: [allowLoopback], config }));
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  t.is((await connect(client, origin.authority)).status, 503);
  t.is((await recordOf(gateway, client)).close.reason, 'no-source-address');
  t.is(origin.peers.length, 0);
});

test('more connections than local ports; and networks that nobody routes to', async t => {
  if (!(await hasNamespaces(t))) return;
  const program = import.meta.resolve('./port-exhaustion.ts');
  const result = await runInNamespace<Exhaustion>(program, { from: 40_000, to: 40_049 });
  t.deepEqual(result.spread, { 200: 120 }, '50 ports, 4 destinations: all connected');
  t.is(result.heldAtOnce, 120);
  t.deepEqual(result.sources, ['127.0.0.50']);

  const { 200: connected = 0, 503: refused = 0, ...others } = result.oneDestination;
  t.deepEqual(others, {});
  t.is(connected + refused, 80);
  t.true(connected > 0 && connected <= 50, `${connected} of 80 to one destination with 50 ports`);
  t.deepEqual(result.reasons, { 'no-source-address': refused });
  t.is(result.afterwards, 200);

  t.deepEqual(result.unroutable, { connect: 502, get: 502, socks: 3, reasons: { 'network-unreachable': 3 } });
});

test('an address that the host gains while the gateway runs is the gateway itself, and no destination', async t => {
  if (!(await hasNamespaces(t))) return;
  const program = import.meta.resolve('./own-address.ts');
  const { statuses } = await runInNamespace<OwnAddress>(program, { from: 40_000, to: 49_999 });
  t.deepEqual(statuses, { 1: [403, 403], 3: [403, 403] });
});
