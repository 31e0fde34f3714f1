// Answers in a tunnel that come soon are asked for instead of slept for, in every thread; the metrics say how often.

import { availableParallelism } from 'node:os';
import test from 'ava';
import { hasCpuLimit } from '../../gateway/os/cpu-limit.ts';
import { EventLoop } from '../../gateway/os/event-loop.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { connect } from '../support/http-client.ts';
import { during } from '../support/lifetime.ts';
import { allowLoopback } from '../support/policies.ts';
import { connectRaw, type RawClient } from '../support/raw-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import { eventually } from '../support/waiting.ts';

const mayPoll = (await EventLoop.open()) !== null && availableParallelism() > 1 && !hasCpuLimit();

async function chat(client: RawClient, times: number): Promise<void> {
  for (let at = 0; at < times; at++) await client.send('?').read(1);
}

const polls = async (gateway: Gateway) => {
  const metrics = await gateway.metrics();
  const of = (result: string) => metrics.get(`sallyport_busy_polls_total{result="${result}"}`)!;
  return { answered: of('answered'), vain: of('vain') };
};

// The longest there may be: client and origin of the test are one slow process.
for (const [title, threads] of [
  ['the control thread', 1],
  ['threads beside it', 3],
] as const)
  test.serial(`answers that come soon are asked for: ${title}`, async t => {
    const config = { threads, limits: { busyPollTime: '1ms' } };
    const gateway = during(t, await startGateway({ policies: [allowLoopback], config }));
    const origin = during(t, await echoOrigin());
    const client = await connectRaw(t, { port: gateway.proxy });
    t.is((await connect(client, origin.authority)).status, 200);
    if (!mayPoll) {
      t.log('NOT RUN: one processor, or a CPU limit: nothing is to be asked for');
      await chat(client, 100);
      t.deepEqual(await polls(gateway), { answered: 0, vain: 0 });
      return;
    }
    await eventually(async () => {
      await chat(client, 100);
      return (await polls(gateway)).answered > 0 || undefined;
    }, 'an answer that was asked for');
  });

test.serial('with a time of 0 none is', async t => {
  const config = { limits: { busyPollTime: '0s' } };
  const gateway = during(t, await startGateway({ policies: [allowLoopback], config }));
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  t.is((await connect(client, origin.authority)).status, 200);
  await chat(client, 1_000);
  t.deepEqual(await polls(gateway), { answered: 0, vain: 0 });
});
