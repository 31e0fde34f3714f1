// The fast evaluator against the plain one, on random policies of every kind, clients and destinations.
// POLICY_CASES sets the number of questions: 5,000 by default, 100,000 where CI is set.

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { parseAddress } from '../../../config/policy/address.ts';
import { type CompiledPolicy, compilePolicies } from '../../../config/policy/compile.ts';
import { decideByAddress, decideByName } from '../../../config/policy/decide.ts';
import type { Decision, Question } from '../../../config/policy/decision.ts';
import { destinationFor } from '../../../config/policy/destination.ts';
import { policyKinds } from '../../../config/policy/schema.ts';
import { cidr } from './compile-yaml.ts';
import { type Asked, addresses, asked, world } from './random-policies.ts';
import { type Raw, referenceDecide, referenceEvaluate, type World } from './reference.ts';

const cases = Number(process.env.POLICY_CASES ?? (process.env.CI ? 100_000 : 5_000));
const questionsEach = 50;
const parts = Math.ceil(cases / 20_000);

function compile({ documents, guardCidrs, self, defaultAction }: World): CompiledPolicy {
  const sourced = documents.map(raw => {
    const kind = policyKinds.find(each => each.kind === raw.kind && each.apiVersion === raw.apiVersion)!;
    return { value: kind.schema.parse(raw), file: 'random.yaml', locate: () => ({ line: 1, column: 1 }) };
  });
  return compilePolicies({
    documents: sourced,
    guardCidrs: guardCidrs.map(text => ({ name: 'cluster', cidr: cidr(text) })),
    self: { addresses: self.addresses.map(cidr), ports: self.ports },
    defaultAction,
    onForbiddenAnswer: 'Drop',
    generation: 1,
    readsServerNames: true,
  }).policy;
}

function questionOf({ ask, workload }: Asked): Question {
  const { host, port, protocol, nowMs, http, sni, from, user } = ask;
  const destination = destinationFor(host, port);
  if (destination.kind === 'error') throw new Error(destination.message);
  const client = { address: from === null ? null : parseAddress(from), user, workload };
  return { client, destination, protocol, nowMs, ...(http && { http }), ...(sni !== undefined && { sni }) };
}

function plainAnswer({ verdict, tier, policy, rule, wouldDeny }: Decision) {
  if (wouldDeny === undefined) return { verdict, tier, policy, rule };
  return {
    verdict,
    tier,
    policy,
    rule,
    wouldDeny: { tier: wouldDeny.tier, policy: wouldDeny.policy, rule: wouldDeny.rule },
  };
}

const manyAsked = fc.array(asked, { minLength: questionsEach, maxLength: questionsEach });

// In parts, so that none takes long enough to look stuck.
for (let part = 1; part <= parts; part++) {
  test.serial(
    `part ${part} of ${parts}: decisions by address agree, and a denial by name holds whatever it resolves to`,
    t => {
      fc.assert(
        fc.property(world, manyAsked, (random, many) => {
          const policy = compile(random);
          for (const each of many) compare(t, random, policy, each);
          t.pass();
        }),
        { numRuns: Math.ceil(cases / questionsEach / parts) },
      );
    },
  );
}

function compare(t: ExecutionContext, random: World, policy: CompiledPolicy, each: Asked): void {
  const question = questionOf(each);
  const fast = plainAnswer(decideByAddress(policy, question, parseAddress(each.address)!));
  const slow = referenceDecide(random, each.ask, each.address);
  // The test runner's comparison costs more than both evaluators together.
  if (JSON.stringify(fast) !== JSON.stringify(slow)) t.deepEqual(fast, slow, JSON.stringify(each.ask));
  if (!each.ask.isName || decideByName(policy, question) === 'resolve') return;
  for (const address of addresses) {
    const { verdict } = referenceEvaluate(random, each.ask, address, false);
    if (verdict !== 'deny') t.fail(`${each.ask.host} at ${address} is allowed, and was denied by name`);
  }
}

test('without rules on blocks, a name is resolved only if a public address would be allowed', t => {
  const byHost = (random: World) => !JSON.stringify(random.documents).match(/cidr|networks|ipBlock/);
  fc.assert(
    fc.property(
      world.map(stripBlocks).filter(byHost),
      fc.array(asked, { minLength: 10, maxLength: 10 }),
      (random, many) => {
        const policy = compile(random);
        for (const each of many.filter(({ ask }) => ask.isName)) {
          const ask = { ...each.ask, sni: undefined };
          const isResolved = decideByName(policy, questionOf({ ...each, ask })) === 'resolve';
          t.is(isResolved, referenceDecide(random, ask, '1.1.1.1').verdict === 'allow', JSON.stringify(ask));
        }
      },
    ),
    { numRuns: Math.ceil(cases / 100) },
  );
});

/** The same policies with every peer that is a block made a host. */
function stripBlocks(random: World): World {
  const documents = random.documents
    .filter(({ kind }) => kind === 'ClusterEgressPolicy' || kind === 'EgressPolicy')
    .map(raw => ({
      ...raw,
      spec: {
        ...raw.spec,
        ...(raw.spec.subject?.clients && { subject: undefined }),
        rules: (raw.spec.rules ?? []).map(stripRule),
      },
    }))
    .map(raw => JSON.parse(JSON.stringify(raw)));
  return { ...random, documents };
}

function stripRule({ resolvesTo: _, to, ...rule }: Raw): Raw {
  return { ...rule, ...(to && { to: to.map((peer: Raw) => (peer.cidr ? { host: 'b.com' } : peer)) }) };
}
