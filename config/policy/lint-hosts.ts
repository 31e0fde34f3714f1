// Checks of host patterns: those that cover more than they seem, and apexes and wildcards that come without the other.

import { getDomain, parse } from 'tldts';
import type { HostPattern } from './host-pattern.ts';
import { patternCovers } from './lint-cover.ts';
import type { Found } from './lint-finding.ts';
import type { LintEntry, LintModel, LintRule } from './lint-model.ts';
import type { RuleAction } from './policy-model.ts';

/**
 * Names below which providers put the names of their customers, and that the Public Suffix List has only further down,
 * or not at all. Kept by hand, last looked through in November 2026.
 */
const sharedHosting = new Set([
  'akamaihd.net',
  'amazonaws.com',
  'amazonaws.com.cn',
  'azure.com',
  'azure.net',
  'b-cdn.net',
  'cloudapp.azure.com',
  'core.windows.net',
  'fastly.net',
  'googleusercontent.com',
  'oraclecloud.com',
  'sharepoint.com',
  'windows.net',
]);

const withHosting = { allowPrivateDomains: true };

interface Host extends LintEntry {
  readonly rule: LintRule;
  readonly pattern: HostPattern;
}

function hostsOf({ rules }: LintModel, action: RuleAction): Host[] {
  return rules
    .filter(({ rule }) => rule.action === action)
    .flatMap(rule =>
      rule.entries.flatMap(entry =>
        entry.peer.kind === 'host' ? [{ ...entry, rule, pattern: entry.peer.pattern }] : [],
      ),
    );
}

function found({ document, path, rule }: Host, message: string, remedy?: string): Found {
  return { document, path, policy: rule.policy, message, ...(remedy !== undefined && { remedy }) };
}

/** SP004. */
export function everyName(model: LintModel): Found[] {
  return hostsOf(model, 'Allow')
    .filter(({ pattern }) => pattern.kind === 'any')
    .map(host => found(host, `"*" in the Allow rule ${host.rule.rule.name} stands for every name there is`));
}

/** SP005. */
export function sharedSuffixes(model: LintModel): Found[] {
  return hostsOf(model, 'Allow').flatMap(host => {
    const { kind, name, text } = host.pattern;
    const whose = kind === 'suffix' ? ownersBelow(name) : null;
    return whose === null ? [] : [found(host, `${text} covers ${whose}`)];
  });
}

/** Whose names stand below this one, where they are not one owner's. */
function ownersBelow(name: string): string | null {
  if (sharedHosting.has(name)) return `the names of every customer of ${name}`;
  const { publicSuffix, isIcann, isPrivate } = parse(name, withHosting);
  if (publicSuffix !== name) return null;
  if (isPrivate === true) return `the names of every customer of ${name}`;
  return isIcann === true ? `every domain registered under ${name}` : null;
}

/** SP006: in an Allow only below a name that somebody registered, where an apex is likely to be meant too. */
export function wildcardsAlone(model: LintModel): Found[] {
  const suffixes = (action: RuleAction) =>
    hostsOf(model, action).filter(
      host => host.pattern.kind === 'suffix' && !isNamed(host, apexOf(host.pattern)),
    );
  return [
    ...suffixes('Allow').filter(({ pattern }) => isRegistered(pattern.name)),
    ...suffixes('Deny').filter(({ pattern }) => ownersBelow(pattern.name) === null),
  ].map(host => {
    const { name, text } = host.pattern;
    return found(host, `${text} does not stand for ${name} itself`, `add {host: ${name}} if it is meant too`);
  });
}

/** SP007. */
export function apexesAlone(model: LintModel): Found[] {
  return hostsOf(model, 'Deny')
    .filter(({ pattern }) => pattern.kind === 'exact' && isRegistered(pattern.name))
    .filter(host => !isNamed(host, belowOf(host.pattern)))
    .map(host => {
      const { name } = host.pattern;
      const message = `the Deny of ${name} leaves every name below it, such as www.${name}`;
      return found(host, message, `add {host: "*.${name}"} if they are meant too`);
    });
}

function apexOf({ name }: HostPattern): HostPattern {
  return { kind: 'exact', name, text: name };
}

function belowOf({ name }: HostPattern): HostPattern {
  return { kind: 'suffix', name, text: `*.${name}` };
}

/** Whether a rule of the same policy and action names all that this pattern stands for. */
function isNamed({ rule }: Host, pattern: HostPattern): boolean {
  return rule.policy.rules.some(
    other =>
      other.rule.action === rule.rule.action &&
      other.entries.some(({ peer }) => peer.kind === 'host' && patternCovers(peer.pattern, pattern)),
  );
}

function isRegistered(name: string): boolean {
  const { isIcann, isPrivate } = parse(name, withHosting);
  return (
    (isIcann === true || isPrivate === true) &&
    getDomain(name, withHosting) === name &&
    !sharedHosting.has(name)
  );
}
