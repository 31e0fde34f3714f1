// Checks of single policies and sets: open ports, subjects that select nobody, sets that nobody names, policies
// without rules, conditions that are never seen.

import { type Found, ignoredIds, lintIgnoreAnnotation } from './lint-finding.ts';
import { isOwnKind, type LintModel, labelOf, setKeyOf } from './lint-model.ts';
import { selectsAny } from './lint-subject.ts';
import type { Rule } from './schema-egress.ts';

/** SP008. */
export function everyPort({ rules }: LintModel): Found[] {
  return rules
    .filter(({ rule }) => rule.action === 'Allow' && rule.to?.length !== 0 && hasEveryPort(rule.ports))
    .map(each => ({ ...each, message: `the Allow rule ${each.rule.name} is open on every port` }));
}

/** Codes from 1 to 65535 are TCP, those after them UDP. */
function hasEveryPort(codes: readonly number[]): boolean {
  return codes.some((from, at) => at % 2 === 0 && codes[at + 1]! - from >= 65_534);
}

/** SP013, as compiling words it: the two are one to the reader. */
export function unusedSets({ sets, namedSets }: LintModel): Found[] {
  return sets
    .filter(({ value }) => !namedSets.has(setKeyOf(value)))
    .map(({ value, document }) => ({
      policy: { value },
      document,
      path: ['metadata', 'name'],
      message: `no rule names ${labelOf(value)}`,
    }));
}

/** SP015: where there are workloads to tell by. */
export function subjectsOfNobody({ policies, input }: LintModel): Found[] {
  const workloads = new Set(input.policy.workloads.values());
  if (workloads.size === 0) return [];
  return policies
    .filter(({ subject }) => subject?.kind === 'workloads' && !selectsAny(subject, workloads))
    .map(policy => ({
      policy,
      document: policy.document,
      path: ['metadata', 'name'],
      message: `${policy.label} selects none of the ${workloads.size} workloads given`,
    }));
}

/** SP019. A namespaced policy without rules says something: it allows its pods nothing. */
export function withoutRules({ policies }: LintModel): Found[] {
  return policies
    .filter(({ rules, value }) => rules.length === 0 && value.kind === 'ClusterEgressPolicy')
    .map(policy => ({
      policy,
      document: policy.document,
      path: ['metadata', 'name'],
      message: `${policy.label} has no rules and changes nothing`,
    }));
}

/** SP020: a tunnel shows no request, and on this port there is hardly anything else. */
export function unseenRequests({ policies }: LintModel): Found[] {
  return policies.flatMap(policy => {
    if (!isOwnKind(policy.value)) return [];
    return (policy.value.spec.rules as readonly Rule[]).flatMap((rule, at) => {
      const isTls = rule.ports?.every(port => port === 443) ?? false;
      if (rule.http === undefined || !isTls) return [];
      const effect = rule.action === 'Allow' ? 'never matches' : 'holds for every request';
      const message = `http in rule ${rule.name} asks for requests that a tunnel to port 443 does not show: there it ${effect}`;
      return [{ policy, document: policy.document, path: ['spec', 'rules', at, 'http'], message }];
    });
  });
}

/** SP021. */
export function unknownIgnores({ policies, sets }: LintModel, known: readonly string[]): Found[] {
  return [...policies, ...sets].flatMap(({ value, document }) =>
    ignoredIds(value)
      .filter(id => !known.includes(id))
      .map(id => ({
        policy: { value },
        document,
        path: ['metadata', 'annotations', lintIgnoreAnnotation],
        message: `no check is named ${id}`,
      })),
  );
}
