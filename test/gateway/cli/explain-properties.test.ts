// What explain says against what the gateway does, on random policies: the rule that the steps end at is the one that
// decided, the whole decision is admission's, and the policy it proposes allows what was asked and nothing else.

import test from 'ava';
import fc from 'fast-check';
import type { IpAddress } from '../../../config/policy/address.ts';
import { decideByAddress } from '../../../config/policy/decide.ts';
import type { Decision, PolicyClient, Question } from '../../../config/policy/decision.ts';
import { withoutMapping } from '../../../config/policy/embedded-ipv4.ts';
import { explainQuestion } from '../../../gateway/cli/explanation.ts';
import { type PolicySource, parsePolicies } from '../../../gateway/cli/policy-source.ts';
import { reasonAbout } from '../../../gateway/cli/reasoning.ts';
import { decideWhole } from '../../../gateway/cli/whole-decision.ts';
import { admittedSession } from './admitted.ts';
import { policySource, type RandomQuestion, randomQuestion } from './random-policies.ts';

const many = fc.array(randomQuestion, { minLength: 10, maxLength: 10 });
const addressesOf = ({ question, resolved }: RandomQuestion) =>
  question.destination.address === null ? resolved : [question.destination.address];
const ground = ({ verdict, tier, policy, rule }: Decision) => ({ verdict, tier, policy, rule });

test('the rule that the steps end at is the one that decided', t => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(policySource, many, ({ policy }, asked) => {
      for (const each of asked)
        for (const address of addressesOf(each)) {
          const decision = decideByAddress(policy, each.question, address);
          const { decider, steps, ...reasoning } = reasonAbout(policy, each.question, address);
          t.deepEqual(ground(reasoning.decision), ground(decision));
          seen.add(`${decision.tier} ${decision.verdict}`);
          if (decider === 'guard') t.is(decision.tier, 'Guard');
          else if (decider === 'default') t.is(decision.tier, 'Default');
          else t.like(decision, { tier: decider.tier, policy: decider.policy, rule: decider.rule });
          const marked = steps.filter(({ outcome }) => outcome === 'decides');
          t.true(marked.length <= 1);
          if (decision.verdict === 'allow' && typeof decider === 'object')
            t.like(marked[0], { rule: decider.rule });
        }
    }),
    { numRuns: 400 },
  );
  for (const each of ['Admin allow', 'Admin deny', 'Namespace allow', 'Namespace deny', 'Baseline allow'])
    t.true(seen.has(each), each);
  for (const each of ['Baseline deny', 'Guard deny', 'Default deny', 'Default allow'])
    t.true(seen.has(each), each);
});

test('the whole decision is the one that admission makes', async t => {
  await fc.assert(
    fc.asyncProperty(policySource, many, async ({ policy }, asked) => {
      for (const { question, resolved } of asked) {
        // Workloads and server names are not admission's to find out here, and the time is its own.
        const { sni: _, ...known } = question;
        const plain = { ...known, client: { ...question.client, workload: null }, nowMs: Date.now() };
        const { decision } = decideWhole(policy, plain, resolved);
        const session = await admittedSession(policy, { question: plain, resolved });
        t.deepEqual(ground(session.decision!), ground(decision));
      }
    }),
    { numRuns: 150 },
  );
});

/** Whether a policy that allows `asked` cannot but be about `other` too. */
function isMeant(asked: Question, { question, resolved }: RandomQuestion): boolean {
  const { destination, sni } = question;
  const { host, port } = asked.destination;
  // A server name other than the host can only be let through by naming both.
  const isSameHost = destination.host === host || destination.host === asked.sni || sni !== undefined;
  const isSameAddress = resolved.some(({ text }) => text === host);
  return (
    (isSameHost || isSameAddress) && destination.port === port && isSameClient(asked.client, question.client)
  );
}

function isSameClient(asked: PolicyClient, other: PolicyClient): boolean {
  if (asked.workload !== null) return other.workload === asked.workload;
  if (asked.user !== null) return other.user === asked.user;
  return withoutMapping(other.address!).text === withoutMapping(asked.address!).text;
}

function isOwnListener({ destination }: Question, resolved: readonly IpAddress[]): boolean {
  return (
    destination.port === 443 && [destination.host, ...resolved.map(({ text }) => text)].includes('127.0.0.1')
  );
}

/** Nothing can come before priority 0 and the first of all names. */
function hasFirstPolicy({ documents }: PolicySource): boolean {
  return documents.some(({ value }) => (value as { metadata: { name: string } }).metadata.name === '0');
}

test('the proposed policy allows what was asked, and changes nothing else', async t => {
  let proposed = 0;
  await fc.assert(
    fc.asyncProperty(policySource, randomQuestion, many, async (source, { question, resolved }, others) => {
      const { whole, patch, isExample } = await explainQuestion(source, question, resolved);
      if (patch === null) {
        const { verdict } = whole.decision;
        t.true(verdict === 'allow' || isOwnListener(question, resolved) || hasFirstPolicy(source));
        return;
      }
      t.is(whole.decision.verdict, 'deny');
      proposed++;
      const { documents, problems } = await parsePolicies(patch, 'patch.yaml');
      t.deepEqual(problems, []);
      const compiled = source.compile([...source.documents, ...documents]);
      t.deepEqual(
        compiled.problems.filter(({ severity }) => severity === 'error'),
        [],
      );
      if (!isExample) t.is(decideWhole(compiled.policy, question, resolved).decision.verdict, 'allow');
      for (const other of others) {
        if (isMeant(question, other)) continue;
        const before = decideWhole(source.policy, other.question, other.resolved).decision.verdict;
        const after = decideWhole(compiled.policy, other.question, other.resolved).decision.verdict;
        if (before === 'deny') t.is(after, 'deny', patch);
      }
    }),
    { numRuns: 400 },
  );
  t.true(proposed > 50, String(proposed));
});
