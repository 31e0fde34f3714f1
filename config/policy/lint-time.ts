// Checks of time: what has expired or soon will, and policies that have been on trial for long.

import type { Found } from './lint-finding.ts';
import { isOwnKind, type LintModel, type LintPolicy } from './lint-model.ts';
import type { Rule } from './schema-egress.ts';

const dayMs = 86_400_000;

/** Days ahead of its expiry in which a rule or policy is told of. */
const soonDays = 7;

/** Where a file says since when its policy is on trial; objects of a cluster have `creationTimestamp`. */
const auditSinceAnnotation = 'sallyport.dev/audit-since';

interface Expiring {
  readonly policy: LintPolicy;
  readonly path: (string | number)[];
  readonly what: string;
  readonly expiresAtMs: number;
}

/** Policies and rules with an expiry of their own, the policy's first. */
function expiring({ policies }: LintModel): Expiring[] {
  return policies.flatMap(policy => {
    const { value, label } = policy;
    if (!isOwnKind(value)) return [];
    const { expiresAt, rules } = value.spec;
    const own =
      expiresAt === undefined
        ? []
        : [{ policy, path: ['spec', 'expiresAt'], what: label, expiresAtMs: expiresAt }];
    const ofRules = (rules as readonly Rule[]).flatMap((rule, at) =>
      rule.expiresAt === undefined
        ? []
        : [
            {
              policy,
              path: ['spec', 'rules', at, 'expiresAt'],
              what: `rule ${rule.name}`,
              expiresAtMs: rule.expiresAt,
            },
          ],
    );
    return [...own, ...ofRules];
  });
}

/** SP009. */
export function expired(model: LintModel): Found[] {
  const { nowMs } = model.input;
  return expiring(model)
    .filter(({ expiresAtMs }) => expiresAtMs <= nowMs)
    .map(each => ({
      ...placeOf(each),
      message: `${each.what} expired on ${dateOf(each.expiresAtMs)}, ${days(nowMs - each.expiresAtMs)} ago`,
    }));
}

/** SP010. */
export function expiringSoon(model: LintModel): Found[] {
  const { nowMs } = model.input;
  return expiring(model)
    .filter(({ expiresAtMs }) => expiresAtMs > nowMs && expiresAtMs <= nowMs + soonDays * dayMs)
    .map(each => ({
      ...placeOf(each),
      message: `${each.what} expires on ${dateOf(each.expiresAtMs)}, in ${days(each.expiresAtMs - nowMs)}`,
    }));
}

/** SP011. */
export function oldAudits(model: LintModel): Found[] {
  const { nowMs, auditDays } = model.input;
  return audits(model).flatMap(policy => {
    const sinceMs = auditSinceMs(policy);
    if (sinceMs === null || nowMs - sinceMs <= auditDays * dayMs) return [];
    const message = `${policy.label} has been in Audit mode since ${dateOf(sinceMs)}, ${days(nowMs - sinceMs)}`;
    return [{ policy, document: policy.document, path: ['spec', 'mode'], message }];
  });
}

/** SP012. */
export function undatedAudits(model: LintModel): Found[] {
  return audits(model)
    .filter(policy => auditSinceMs(policy) === null)
    .map(policy => ({
      policy,
      document: policy.document,
      path: ['spec', 'mode'],
      message: `${policy.label} is in Audit mode, and nothing says since when`,
    }));
}

function audits({ policies }: LintModel): LintPolicy[] {
  return policies.filter(({ value }) => isOwnKind(value) && value.spec.mode === 'Audit');
}

/** The annotation says more than the age of the object; null where neither is a time. */
function auditSinceMs({ value: { metadata } }: LintPolicy): number | null {
  const given = metadata.annotations?.[auditSinceAnnotation] ?? metadata.creationTimestamp;
  const time = typeof given === 'string' ? Date.parse(given) : Number.NaN;
  return Number.isNaN(time) ? null : time;
}

function placeOf({ policy, path }: Expiring): Omit<Found, 'message'> {
  return { policy, document: policy.document, path };
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

function days(ms: number): string {
  const count = Math.floor(ms / dayMs);
  if (count === 0) return 'less than a day';
  return count === 1 ? '1 day' : `${count} days`;
}
