// Checks of blocks: those that leave closed what they seem to open, and those of one address family alone.

import { type Cidr, cidrInside } from './address.ts';
import type { Guard } from './guard.ts';
import type { Found } from './lint-finding.ts';
import { isOwnKind, type LintModel, type LintRule } from './lint-model.ts';
import type { Rule } from './schema-egress.ts';
import { specialPurposeRanges } from './special-purpose.ts';

type Block = { cidr: Cidr; except: readonly Cidr[] };

/** SP016. */
export function wideBlocks({ rules }: LintModel): Found[] {
  return allowed(rules).flatMap(({ rule, document, path, block }) => {
    const closed = specialPurposeRanges.filter(({ cidr }) => staysClosed(cidr, block));
    if (closed.length === 0) return [];
    const named = closed.map(({ cidr }) => cidr.text).slice(0, 3);
    const more = closed.length > 3 ? ` and ${closed.length - 3} more` : '';
    const message = `${block.cidr.text} leaves special-purpose addresses inside it closed: ${named.join(', ')}${more}`;
    return [{ document, path, policy: rule.policy, message }];
  });
}

/** Whether the block goes around the whole range, which then needs a rule of its own. */
function staysClosed(range: Cidr, { cidr, except }: Block): boolean {
  return (
    cidrInside(range, cidr) && range.prefix > cidr.prefix && !except.some(hole => cidrInside(range, hole))
  );
}

/** SP017. */
export function blocksThatOpenNothing({ rules, input }: LintModel): Found[] {
  const { guard } = input.policy;
  return [...allowed(rules).flatMap(closedBlock), ...rules.flatMap(rule => idleResolvesTo(rule, guard))];
}

type Allowed = ReturnType<typeof allowed>[number];

/** Link-local and the metadata services open one address at a time. */
function closedBlock({ rule, document, path, block }: Allowed): Found[] {
  const { cidr } = block;
  const range = specialPurposeRanges.find(({ singleOnly, cidr: its }) => singleOnly && cidrInside(cidr, its));
  if (range === undefined || isSingle(cidr)) return [];
  const message = `${cidr.text} opens nothing: ${range.name} (${range.cidr.text}) opens one address at a time`;
  return [{ document, path, policy: rule.policy, message, remedy: 'name single addresses' }];
}

/** A block to resolve to matters only where it opens something. */
function idleResolvesTo({ rule, policy, document, path }: LintRule, guard: Guard): Found[] {
  if (!isOwnKind(policy.value)) return [];
  const written: Rule | undefined = policy.value.spec.rules[path[2] as number];
  return (written?.resolvesTo ?? []).flatMap((cidr, at) => {
    if (opensSome(cidr, guard)) return [];
    const message = `${cidr.text} in resolvesTo of ${rule.name} opens nothing: it is no block inside one special-purpose range`;
    const remedy = 'name a block inside the range, or remove it: other addresses need no resolvesTo';
    return [{ policy, document, path: [...path, 'resolvesTo', at], message, remedy }];
  });
}

function opensSome(cidr: Cidr, guard: Guard): boolean {
  const hit = guard.hitOf(cidr.base);
  return (
    (hit !== null && cidr.prefix >= hit.opensAt) ||
    specialPurposeRanges.some(range => !range.singleOnly && cidrInside(cidr, range.cidr) && !isMetadata(cidr))
  );
}

/** Whether the block lies where only single addresses open. */
function isMetadata(cidr: Cidr): boolean {
  return specialPurposeRanges.some(range => range.singleOnly && cidrInside(cidr, range.cidr));
}

function isSingle({ base, prefix }: Cidr): boolean {
  return prefix === (base.family === 4 ? 32 : 128);
}

function allowed(rules: readonly LintRule[]) {
  return rules
    .filter(({ rule }) => rule.action === 'Allow')
    .flatMap(rule =>
      rule.entries.flatMap(({ peer, document, path }) =>
        peer.kind === 'cidr' ? [{ rule, document, path, block: peer }] : [],
      ),
    );
}

/** SP018: one policy, every address of one family denied, and the other left out. */
export function oneFamilyDenied({ policies }: LintModel): Found[] {
  return policies.flatMap(policy => {
    const whole = policy.rules
      .filter(({ rule }) => rule.action === 'Deny')
      .flatMap(rule =>
        rule.entries.flatMap(({ peer, document, path }) =>
          peer.kind === 'cidr' && peer.cidr.prefix === 0
            ? [{ document, path, family: peer.cidr.base.family }]
            : [],
        ),
      );
    if (new Set(whole.map(({ family }) => family)).size !== 1) return [];
    const { document, path, family } = whole[0]!;
    const [here, other] = family === 4 ? ['0.0.0.0/0', '::/0'] : ['::/0', '0.0.0.0/0'];
    const message = `the Deny of ${here} leaves every ${family === 4 ? 'IPv6' : 'IPv4'} address`;
    return [{ document, path, policy, message, remedy: `add {cidr: "${other}"}, or leave out to` }];
  });
}
