// The policies a command works on: those of a configuration, or files and folders by themselves, compiled as the
// gateway would. Files only; it asks no cluster and no name server.

import { glob, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocuments } from '../../config/documents.ts';
import { type GatewayConfig, gatewayConfigSchema } from '../../config/gateway-config.ts';
import { kindOf } from '../../config/kinds.ts';
import { loadGatewayConfig, loadPolicies } from '../../config/load.ts';
import { addressBits, cidrOf, parseAddress } from '../../config/policy/address.ts';
import type { CompiledPolicy, Problem, SourcedDocument } from '../../config/policy/compile.ts';
import type { Guard } from '../../config/policy/guard.ts';
import { policyKinds } from '../../config/policy/schema.ts';
import { formatProblem, inOrder } from '../../config/problems.ts';
import { checkDocument } from '../../config/schema-problems.ts';
import { buildSnapshot } from '../../config/snapshot.ts';
import { type CommandParts, Misuse } from './command.ts';

export interface PolicySource {
  readonly policy: CompiledPolicy;
  /** What `policy` was compiled from. */
  readonly documents: readonly SourcedDocument[];
  /** The same configuration with other documents. */
  compile(documents: readonly SourcedDocument[]): { policy: CompiledPolicy; problems: readonly Problem[] };
}

/** What keeps policies from being used; thrown with every error at once. */
export class PolicyErrors extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super('the policies have errors');
    this.problems = inOrder(problems.filter(isError));
  }
}

/**
 * `config` alone: the configuration with the policies it names. With `policies` too: those in place of its own.
 * `policies` alone: a gateway of default configuration. Folders stand for the *.yaml and *.yml files in them.
 * @throws PolicyErrors, or Misuse for a folder without policies
 */
export async function loadPolicySource(
  config: string | undefined,
  policies: readonly string[],
): Promise<PolicySource> {
  if (config !== undefined && policies.length === 0) return sourceOf(await wholeConfiguration(config));
  const found = config === undefined ? defaultConfig() : await configurationAlone(config);
  const { documents, problems } = await loadPolicies(await policyFiles(policies));
  if (problems.some(isError)) throw new PolicyErrors(problems);
  return sourceOf({ config: found, documents });
}

/** The guard of a configuration without its policies; of a default one without `config`. */
export async function loadGuard(config: string | undefined): Promise<Guard> {
  const found = config === undefined ? defaultConfig() : await configurationAlone(config);
  return sourceOf({ config: found, documents: [] }).policy.guard;
}

/** Runs what needs policies; errors in them go to standard error, and the command ends with code 2. */
export async function withPolicies(parts: CommandParts, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof PolicyErrors)) throw error;
    parts.stderr.write(error.problems.map(problem => `${formatProblem(problem)}\n`).join(''));
    return 2;
  }
}

/** Policies as the text of a file, checked against their schemas; `file` is for messages. */
export async function parsePolicies(
  text: string,
  file: string,
): Promise<{ documents: SourcedDocument[]; problems: Problem[] }> {
  const parsed = await parseDocuments(text, file);
  const problems = [...parsed.problems];
  const documents = parsed.documents.flatMap(document => {
    const kind = kindOf(document, policyKinds);
    if ('message' in kind) problems.push(kind);
    if ('message' in kind) return [];
    const checked = checkDocument(kind.schema, document);
    if (checked.problems) problems.push(...checked.problems);
    return checked.problems ? [] : [{ ...document, value: checked.value }];
  });
  return { documents, problems };
}

export function isError({ severity }: Problem): boolean {
  return severity === 'error';
}

interface Loaded {
  readonly config: GatewayConfig;
  readonly documents: readonly SourcedDocument[];
}

function sourceOf({ config, documents }: Loaded): PolicySource {
  const compile = (given: readonly SourcedDocument[]) => {
    const { snapshot, problems } = buildSnapshot({
      config,
      documents: [...given],
      users: new Map(),
      cluster: null,
      generation: 1,
      self: ownListeners(config),
      hostAddresses: [],
    });
    return { policy: snapshot.policy, problems };
  };
  const { policy, problems } = compile(documents);
  if (problems.some(isError)) throw new PolicyErrors(problems);
  return { policy, documents, compile };
}

/** Where a gateway of this configuration would listen, as far as the configuration says. */
function ownListeners({ listeners, admin }: GatewayConfig) {
  const sockets = [...listeners, ...(admin ? [admin] : [])].filter(({ port }) => port !== 0);
  const addresses = sockets.map(({ address }) => parseAddress(address)!);
  return {
    addresses: addresses.map(address => cidrOf(address, addressBits(address.family))),
    ports: sockets.map(({ port }) => port),
  };
}

async function wholeConfiguration(file: string): Promise<Loaded> {
  const loaded = await loadGatewayConfig(file);
  if (!loaded.ok) throw new PolicyErrors(loaded.problems);
  return loaded;
}

const configKind = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  schema: gatewayConfigSchema,
} as const;

function defaultConfig(): GatewayConfig {
  const { apiVersion, kind } = configKind;
  return gatewayConfigSchema.parse({ apiVersion, kind, listeners: [{ name: 'none', port: 0 }] });
}

/** The configuration without what it names: its policies and users may well not be on this machine. */
async function configurationAlone(file: string): Promise<GatewayConfig> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new Misuse(`cannot read ${JSON.stringify(file)}: ${error.message}`);
  });
  const { documents, problems } = await parseDocuments(text, file);
  const [document] = documents;
  if (problems.length > 0) throw new PolicyErrors(problems);
  if (document === undefined) throw new Misuse(`${JSON.stringify(file)} is empty, wanted a GatewayConfig`);
  const kind = kindOf(document, [configKind]);
  if ('message' in kind) throw new PolicyErrors([kind]);
  const checked = checkDocument(gatewayConfigSchema, document);
  if (checked.problems) throw new PolicyErrors(checked.problems);
  return checked.value;
}

async function policyFiles(given: readonly string[]): Promise<string[]> {
  const files = await Promise.all(given.map(filesIn));
  return files.flat();
}

async function filesIn(path: string): Promise<string[]> {
  const isFolder = await stat(path).then(
    found => found.isDirectory(),
    () => false,
  );
  if (!isFolder) return [path];
  const matches = await Array.fromAsync(glob('*.{yaml,yml}', { cwd: path }));
  if (matches.length === 0) throw new Misuse(`no *.yaml in ${JSON.stringify(path)}`);
  return matches.sort().map(match => join(path, match));
}
