// Smokescreen's ACL (version v1) to policies of this gateway.
//
// There, a service is told by its client certificate; its own domains are allowed first, then the global deny list
// holds, then the global allow list, then its action: enforce denies the rest, open allows it, report allows it and
// says so. Here each service is an Admin policy of a user of that name, and the default a Baseline policy of everybody.

import { z } from 'zod';
import type { YamlDocument } from '../documents.ts';
import { parseAddress } from '../policy/address.ts';
import { parseHostPattern } from '../policy/host-pattern.ts';
import { suggest } from '../suggest.ts';
import { placeIn } from './kubernetes-parts.ts';
import { type Imported, type ImportOptions, Notes, type Place } from './notes.ts';
import {
  type ClusterPolicySpec,
  clusterPolicy,
  destinationSet,
  everywhere,
  type ImportedObject,
  importedFromAnnotation,
  ObjectNames,
  type Peer,
  type Rule,
} from './objects.ts';

/** What is on trial comes first; the order of services among themselves does not matter. */
const priorities = { report: 400, service: 500 };

const domains = z.array(z.string()).nullish();
const serviceSchema = z.looseObject({
  name: z.string().min(1).max(255),
  project: z.string().nullish(),
  action: z.string(),
  allowed_domains: domains,
});
const knownKeys = [
  'name',
  'project',
  'action',
  'allowed_domains',
  'mitm_domains',
  'allowed_external_proxies',
];
const aclSchema = z.looseObject({
  version: z.literal('v1'),
  services: z.array(z.unknown()),
  default: z.unknown().optional(),
  global_deny_list: domains,
  global_allow_list: domains,
});

type PlaceAt = (...path: (string | number)[]) => Place;

interface Acl {
  readonly notes: Notes;
  readonly names: ObjectNames;
  readonly place: PlaceAt;
  /** Names of the sets, null where a list is empty. */
  readonly globalDeny: string | null;
  readonly globalAllow: string | null;
}

export function importSmokescreen(documents: readonly YamlDocument[], options: ImportOptions): Imported {
  const notes = new Notes(options);
  const names = new ObjectNames();
  const objects = documents.flatMap(document => importAcl(document, notes, names));
  return { objects, problems: notes.problems };
}

function importAcl(document: YamlDocument, notes: Notes, names: ObjectNames): ImportedObject[] {
  const placeOf = placeIn(document);
  const place: PlaceAt = (...path) => placeOf(path);
  const parsed = aclSchema.safeParse(document.value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    notes.failed(
      place(...(path as string[])),
      `not an ACL of version v1: ${path.join('.')}: ${message}`,
      'give the ACL file',
    );
    return [];
  }
  const value = parsed.data;
  const denied = value.global_deny_list ?? [];
  const allowed = value.global_allow_list ?? [];
  const deny = denied.flatMap((text, at) => deniedPeer(text, place('global_deny_list', at), notes));
  const allow = allowed.flatMap((text, at) => allowedPeer(text, place('global_allow_list', at), notes));
  const sets = [
    ...setOf('global-deny', deny, place('global_deny_list'), names),
    ...setOf('global-allow', allow, place('global_allow_list'), names),
  ];
  const nameOf = (peers: readonly Peer[], name: string) =>
    peers.length === 0 ? null : sets.find(set => set.metadata.name.startsWith(name))!.metadata.name;
  const acl = {
    notes,
    names,
    place,
    globalDeny: nameOf(deny, 'global-deny'),
    globalAllow: nameOf(allow, 'global-allow'),
  };
  return [...sets, ...servicesOf(value.services, acl), ...defaultOf(value.default, acl)];
}

function setOf(name: string, peers: readonly Peer[], place: Place, names: ObjectNames): ImportedObject[] {
  if (peers.length === 0) return [];
  const hosts = peers.flatMap(({ host }) => host ?? []);
  const cidrs = peers.flatMap(({ cidr }) => cidr ?? []);
  const metadata = { name: names.next(name, 'set'), annotations: from(place) };
  return [
    destinationSet(metadata, { ...(hosts.length > 0 && { hosts }), ...(cidrs.length > 0 && { cidrs }) }),
  ];
}

function servicesOf(services: readonly unknown[], acl: Acl): ImportedObject[] {
  const { notes, place } = acl;
  const seen = new Set<string>();
  return services.flatMap((service, at) => {
    const here: PlaceAt = (...path) => place('services', at, ...path);
    const parsed = serviceSchema.safeParse(service);
    if (!parsed.success) {
      notes.leftOut(
        here(),
        `a service that cannot be told: ${parsed.error.issues[0]!.message}`,
        'correct it',
      );
      return [];
    }
    const { name } = parsed.data;
    if (seen.has(name)) {
      notes.leftOut(
        here('name'),
        `a second service ${JSON.stringify(name)}, which Smokescreen refuses`,
        'make one of the two',
      );
      return [];
    }
    seen.add(name);
    sayIdentity(here, notes);
    return policiesOf(parsed.data, { ...acl, place: here }, name);
  });
}

function sayIdentity(place: PlaceAt, notes: Notes): void {
  const what =
    'a service is a user of its name here, where Smokescreen asks for a client certificate of that role';
  notes.once(
    place('name'),
    what,
    'see that each client authenticates as its service; projects are kept as annotations',
  );
}

type Service = z.output<typeof serviceSchema>;

/** `user` null for the default. */
function policiesOf(service: Service, acl: Acl, user: string | null): ImportedObject[] {
  const { names, place, notes } = acl;
  const { action, hosts } = readService(service, acl);
  const own: Rule[] = hosts.length === 0 ? [] : [{ name: 'allowed', action: 'Allow', to: hosts }];
  const rules = [...own, ...globalRules(acl)];
  const tier = user === null ? 'Baseline' : 'Admin';
  const subject = user === null ? {} : { subject: { clients: { users: [user] } } };
  const project = service.project ? { 'sallyport.dev/project': service.project } : {};
  const make = (suffix: string, spec: Pick<ClusterPolicySpec, 'priority' | 'rules'> & { mode?: 'Audit' }) =>
    clusterPolicy(
      {
        name: names.next(`${user ?? 'smokescreen-default'}${suffix}`),
        annotations: { ...from(place()), ...project },
      },
      { tier, ...subject, ...spec },
    );
  const rest: Rule = action === 'enforce' ? denyRest : { name: 'rest', action: 'Allow', to: everywhere };
  const policy = make('', { priority: priorities.service, rules: [...rules, rest] });
  if (action !== 'report') return [policy];
  notes.changed(
    place('action'),
    'report became two policies, of which one is in Audit mode',
    'set mode: Enforce on that one to enforce',
  );
  return [
    make('-report', { priority: priorities.report, mode: 'Audit', rules: [...rules, denyRest] }),
    policy,
  ];
}

const denyRest: Rule = { name: 'rest', action: 'Deny' };

function globalRules({ globalDeny, globalAllow }: Acl): Rule[] {
  return [
    ...(globalDeny === null
      ? []
      : [{ name: 'globally-denied', action: 'Deny', to: [{ destinationSet: globalDeny }] } as const]),
    ...(globalAllow === null
      ? []
      : [{ name: 'globally-allowed', action: 'Allow', to: [{ destinationSet: globalAllow }] } as const]),
  ];
}

/** Action and own domains; of a service with keys unknown here, neither. */
function readService(service: Service, { notes, place }: Acl): { action: string; hosts: Peer[] } {
  const unknown = Object.keys(service).find(key => !knownKeys.includes(key));
  if (unknown !== undefined) {
    const meant = suggest(unknown, knownKeys);
    notes.leftOut(
      place(unknown),
      `all of ${service.name}, for its unknown key ${unknown}`,
      meant ? `try ${meant}` : 'remove it',
    );
    return { action: 'enforce', hosts: [] };
  }
  if (hasEntries(service.mitm_domains))
    notes.changed(
      place('mitm_domains'),
      'traffic is never decrypted here: no headers are added and no requests logged',
      'nothing else is lost',
    );
  if (hasEntries(service.allowed_external_proxies))
    notes.leftOut(place('allowed_external_proxies'), 'external proxies', 'the gateway connects by itself');
  const hosts = (service.allowed_domains ?? []).flatMap((text, at) =>
    allowedPeer(text, place('allowed_domains', at), notes),
  );
  return { action: readAction(service.action, place('action'), notes), hosts };
}

function hasEntries(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}

function readAction(action: string, place: Place, notes: Notes): string {
  if (['open', 'report', 'enforce'].includes(action)) return action;
  notes.leftOut(
    place,
    `the action ${JSON.stringify(action)}, which became enforce`,
    'write open, report or enforce',
  );
  return 'enforce';
}

/** Without one, whoever is no service is denied. */
function defaultOf(value: unknown, acl: Acl): ImportedObject[] {
  const place: PlaceAt = (...path) => acl.place('default', ...path);
  const given = value ?? { name: 'default', action: 'enforce' };
  const parsed = serviceSchema.safeParse({ name: 'default', ...given });
  if (!parsed.success) {
    acl.notes.failed(place(), `the default cannot be told: ${parsed.error.issues[0]!.message}`, 'correct it');
    return [];
  }
  if (value === undefined || value === null)
    return [
      clusterPolicy(
        { name: acl.names.next('smokescreen-default') },
        { tier: 'Baseline', priority: priorities.service, rules: [denyRest] },
      ),
    ];
  return policiesOf(parsed.data, { ...acl, place }, null);
}

/** `*.` at the front is one or more labels in both. An address there is compared as text, and a block here is not. */
function allowedPeer(text: string, place: Place, notes: Notes): Peer[] {
  const pattern = parseHostPattern(text);
  if (pattern.kind === 'exact' || pattern.kind === 'suffix') return [{ host: pattern.text }];
  const isAddress = parseAddress(text) !== null;
  const what = isAddress
    ? `the address ${text}: as a block it would stand for every name that resolves to it too`
    : `${JSON.stringify(text)}, which Smokescreen takes for no domain`;
  notes.leftOut(
    place,
    what,
    isAddress ? `add {cidr: ${text}/${text.includes(':') ? 128 : 32}} if that is meant` : 'correct it',
  );
  return [];
}

/** What cannot be told must not be dropped from a list of denials. */
function deniedPeer(text: string, place: Place, notes: Notes): Peer[] {
  const address = parseAddress(text);
  if (address !== null) return [{ cidr: `${address.text}/${address.family === 4 ? 32 : 128}` }];
  const pattern = parseHostPattern(text);
  if (pattern.kind !== 'error' && pattern.kind !== 'any') return [{ host: pattern.text }];
  notes.failed(place, `${JSON.stringify(text)} is no domain, and a denial must not be lost`, 'correct it');
  return [];
}

function from({ file, line }: Place): Record<string, string> {
  return { [importedFromAnnotation]: `${file}:${line}` };
}
