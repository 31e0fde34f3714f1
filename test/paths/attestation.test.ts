// Attestation by a whole gateway: /readyz, /egress-addresses and /metrics as reflectors answer, over HTTP and HTTPS; and
// that its own questions are in nobody's way, and opened to nobody else.

import test from 'ava';
import { makeAuthority } from '../support/certificates.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type Gateway, type GatewayOptions, startGateway } from '../support/gateway.ts';
import { connect } from '../support/http-client.ts';
import { during } from '../support/lifetime.ts';
import { connectRaw } from '../support/raw-client.ts';
import { recordOf } from '../support/records.ts';
import { reflectingOrigin, type Shown, startReflector } from '../support/reflector.ts';
import { eventually, within } from '../support/waiting.ts';

type Test = Parameters<typeof connectRaw>[0];

const start = async (t: Test, options: GatewayOptions) => during(t, await startGateway(options));

const pools = (...addresses: string[]) => [{ name: 'partners', addresses }];

async function attestation({ admin }: Gateway): Promise<Shown[]> {
  const response = await fetch(`http://127.0.0.1:${admin}/egress-addresses?format=json`);
  return ((await response.json()) as { attestation?: Shown[] }).attestation ?? [];
}

/** Waits for so many outcomes that fit. */
const outcomes = (gateway: Gateway, count: number, fits: (shown: Shown) => boolean = () => true) =>
  eventually(async () => {
    const found = (await attestation(gateway)).filter(fits);
    return found.length === count ? found : undefined;
  }, `${count} outcomes`);

async function readiness({ admin }: Gateway): Promise<{ status: number; reasons: string[] }> {
  const response = await fetch(`http://127.0.0.1:${admin}/readyz`);
  return { status: response.status, reasons: ((await response.json()) as { reasons: string[] }).reasons };
}

const becomes = (gateway: Gateway, status: number) =>
  eventually(async () => {
    const now = await readiness(gateway);
    return now.status === status ? now : undefined;
  }, `/readyz to answer ${status}`);

test('a reflector of its own: asked from every address of the pools, whatever policy says to clients', async t => {
  const reflector = during(t, await startReflector());
  const witness = during(t, await reflectingOrigin());
  const gateway = await start(t, {
    config: {
      egress: {
        pools: pools('127.32.0.1-127.32.0.2', '198.51.100.1'),
        sourceAddresses: ['127.32.0.9'],
        attestation: { reflectors: [reflector.url, `${witness.url}?format=json`] },
      },
    },
  });
  const shown = await outcomes(gateway, 6);
  t.true(shown.every(({ verdict, source, seen }) => verdict === 'confirmed' && seen === source));
  const here = ['127.32.0.1', '127.32.0.2', '127.32.0.9'];
  t.deepEqual(witness.peers.map(({ address }) => address).toSorted(), here);
  t.deepEqual(
    shown.filter(each => each.reflector === reflector.url).map(({ source }) => source),
    here,
  );
  const metrics = await gateway.metrics();
  for (const source of here) {
    t.is(metrics.get(`sallyport_egress_attested{source="${source}"}`), 1);
    t.true(metrics.get(`sallyport_attestation_age_seconds{source="${source}"}`)! >= 0);
  }
  t.is(metrics.get('sallyport_attestations_total{result="confirmed"}'), 6);
  t.is(metrics.get('sallyport_attestations_total{result="mismatch"}'), 0);
  t.deepEqual(await readiness(gateway), { status: 200, reasons: [] });

  const client = await connectRaw(t, { port: gateway.proxy });
  t.is((await connect(client, witness.authority)).status, 403, 'the way is open to the gateway alone');
  await client.end().readAll();
  await recordOf(gateway, client);
  const about = gateway.records().filter(({ destination }) => destination.port === witness.port);
  t.is(about.length, 1, 'its own questions are no sessions');
});

test('an address that is in no pool makes the gateway not ready, and an answer that is right ready again', async t => {
  const there = during(t, await reflectingOrigin());
  const gateway = await start(t, {
    config: {
      egress: {
        pools: pools('127.32.1.1'),
        attestation: { reflectors: [there.url], interval: '10s' },
      },
    },
  });
  await outcomes(gateway, 1, ({ verdict }) => verdict === 'confirmed');
  t.deepEqual(await readiness(gateway), { status: 200, reasons: [] });
  there.answer = () => '198.51.100.7';
  t.deepEqual((await becomes(gateway, 503)).reasons, [
    `reflector ${there.url} sees 198.51.100.7 for 127.32.1.1, which is in no pool`,
  ]);
  t.is((await gateway.metrics()).get('sallyport_egress_attested{source="127.32.1.1"}'), 0);
  await gateway.waitForMessage(({ msg, seen }) => seen === '198.51.100.7' && /in no pool$/.test(msg ?? ''));
  there.answer = () => '127.32.1.1';
  await becomes(gateway, 200);
  t.is((await gateway.metrics()).get('sallyport_egress_attested{source="127.32.1.1"}'), 1);
  t.true(there.peers.every(({ address }) => address === '127.32.1.1'));
});

test('an edit takes force by itself: what is expected, whom to ask, and whether to be ready', async t => {
  const lying = during(t, await reflectingOrigin(() => '198.51.100.7'));
  const fine = during(t, await reflectingOrigin());
  const asks = (reflector: string, more: object = {}) => ({
    egress: { attestation: { reflectors: [reflector], onMismatch: 'NotReady', expected: [], ...more } },
  });
  const gateway = await start(t, {
    config: { egress: { sourceAddresses: ['127.32.2.1'], ...asks(lying.url).egress } },
  });
  t.regex((await becomes(gateway, 503)).reasons.join(), /which is none of egress\.sourceAddresses$/);
  await gateway.writeConfig(asks(lying.url, { expected: ['198.51.100.0/29'] }));
  await becomes(gateway, 200);
  t.like((await attestation(gateway))[0], { verdict: 'confirmed', translated: true });
  await gateway.writeConfig(asks(lying.url));
  await becomes(gateway, 503);
  await gateway.writeConfig(asks(lying.url, { onMismatch: 'Tell' }));
  await becomes(gateway, 200);
  t.is((await gateway.metrics()).get('sallyport_egress_attested{source="127.32.2.1"}'), 0);
  await gateway.writeConfig(asks(fine.url));
  await outcomes(gateway, 1, ({ verdict, reflector }) => verdict === 'confirmed' && reflector === fine.url);
  await gateway.writeConfig({ egress: { attestation: undefined } });
  await outcomes(gateway, 0);
  t.is((await gateway.metrics()).get('sallyport_egress_attested{source="127.32.2.1"}'), undefined);
});

test('HTTPS: the name is looked up and verified; an unknown authority and another name are no answers', async t => {
  const [trusted, unknown] = [during(t, await makeAuthority()), during(t, await makeAuthority())];
  const dns = during(t, await startDnsServer());
  for (const name of ['right.test', 'wrong.test']) dns.set(name, { a: ['127.0.0.1'] });
  const fine = during(
    t,
    await reflectingOrigin(undefined, undefined, await trusted.issue('right.test', '127.0.0.1')),
  );
  const strange = during(t, await reflectingOrigin(undefined, undefined, await unknown.issue('right.test')));
  const plain = during(t, await reflectingOrigin());
  const reflectors = {
    byName: `https://right.test:${fine.port}/`,
    byAddress: fine.url,
    otherName: `https://wrong.test:${fine.port}/`,
    unknown: `https://right.test:${strange.port}/`,
    noTls: `https://127.0.0.1:${plain.port}/`,
    missing: 'https://missing.test/',
  };
  const gateway = await start(t, {
    dns: dns.server,
    env: { NODE_EXTRA_CA_CERTS: trusted.caFile, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
    config: {
      egress: { pools: pools('127.32.3.1'), attestation: { reflectors: Object.values(reflectors) } },
    },
  });
  const shown = await outcomes(gateway, 6);
  const of = (reflector: string) => shown.find(each => each.reflector === reflector)!;
  t.is(of(reflectors.byName).verdict, 'confirmed');
  t.is(of(reflectors.byAddress).verdict, 'confirmed');
  t.like(of(reflectors.otherName), { verdict: 'unreachable', problem: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  t.like(of(reflectors.unknown), { verdict: 'unreachable', problem: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  t.is(of(reflectors.noTls).verdict, 'unreachable');
  t.like(of(reflectors.missing), {
    verdict: 'unreachable',
    problem: 'looking up missing.test: no such name',
  });
  t.deepEqual(await readiness(gateway), { status: 200, reasons: [] });
  t.deepEqual(fine.asked.map(({ serverName }) => serverName).toSorted(), [false, 'right.test']);
  t.deepEqual([strange.asked.length, plain.asked.length], [0, 0], 'nobody is asked before they are known');
  for (const { peers } of [fine, strange, plain])
    t.true(peers.every(({ address }) => address === '127.32.3.1'));
});

test('a question that is not answered does not hold up the end of the gateway', async t => {
  const silent = during(t, await reflectingOrigin(() => null));
  const gateway = await startGateway({
    config: {
      egress: {
        sourceAddresses: ['127.32.4.1'],
        attestation: { reflectors: [silent.url], timeout: '60s' },
      },
    },
  });
  t.teardown(() => gateway.close().catch(() => {}));
  await eventually(() => silent.asked.length === 1 || undefined, 'the question');
  t.deepEqual(await gateway.stop(), { code: 0, signal: null });
  await within(
    eventually(() => silent.open.size === 0 || undefined, 'the connection to be closed'),
    'the end',
  );
});

test('a URL with a password is refused, and the password is not told', async t => {
  const config = { egress: { attestation: { reflectors: ['https://ops:hunter2@reflector.example.com/'] } } };
  const error = await t.throwsAsync(startGateway({ config }));
  t.regex(error!.message, /credentials do not belong into the URL of a reflector/);
  t.notRegex(error!.message, /hunter2/);
});
