// Files to checked values: the gateway's configuration, the policies and the users it names, whole or not at all,
// with every problem at once. The one place in config that does I/O. It puts nothing in force and watches nothing.

import { glob, open, realpath, stat } from 'node:fs/promises';
import { dirname, join, normalize, resolve } from 'node:path';
import { type Path, parseDocuments, type YamlDocument } from './documents.ts';
import { type GatewayConfig, gatewayConfigSchema } from './gateway-config.ts';
import { type Kind, kindOf, unfoldLists } from './kinds.ts';
import type { Problem, SourcedDocument } from './policy/compile.ts';
import { quote } from './policy/quote.ts';
import { policyKinds } from './policy/schema.ts';
import { inOrder } from './problems.ts';
import { checkDocument } from './schema-problems.ts';
import { parseUsers, type UserTable } from './users-file.ts';

/** What a configuration was read from, and in what state, so that a watcher can tell whether it is still so. */
export interface Sources {
  /** Files that were read, or should have been; absolute. */
  readonly files: readonly string[];
  /** Patterns, with the absolute folder that they start from. */
  readonly globs: readonly { readonly folder: string; readonly pattern: string }[];
  /** State of each file when it was read, and of each that a pattern matched, by absolute path. */
  readonly stamps: ReadonlyMap<string, string>;
}

export type LoadedConfiguration =
  | {
      readonly ok: true;
      /** As it was given. */
      readonly file: string;
      /** Frozen. Paths in it are absolute. */
      readonly config: GatewayConfig;
      /** Each holds about forty times its text in memory: for compiling, not for keeping. */
      readonly documents: SourcedDocument[];
      /** Empty without a users file. */
      readonly users: UserTable;
      readonly sources: Sources;
      /** Warnings only. */
      readonly problems: Problem[];
    }
  | { readonly ok: false; readonly sources: Sources; readonly problems: Problem[] };

export interface LoadedPolicies {
  /** Those without a problem, even where others have one. */
  readonly documents: SourcedDocument[];
  readonly sources: Sources;
  readonly problems: Problem[];
}

/** More than these is an error that says so: an accident with a pattern must not exhaust the process. */
export const fileLimits = {
  /** One file. */
  bytes: 4 * 1024 ** 2,
  /** All files of a configuration together. */
  totalBytes: 8 * 1024 ** 2,
  /** Files of a configuration. */
  files: 1_000,
};

const configKind: Kind = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  schema: gatewayConfigSchema,
};

/** Reads a configuration file and everything it names. Never rejects for what is in files or missing from them. */
export async function loadGatewayConfig(file: string): Promise<LoadedConfiguration> {
  const reader = createReader();
  return completeConfiguration(file, await readDocuments(reader, file, top(file)), reader);
}

/** Reads policy files alone. A GatewayConfig among them is a problem. */
export async function loadPolicies(files: readonly string[]): Promise<LoadedPolicies> {
  const reader = createReader();
  const documents: SourcedDocument[] = [];
  for (const file of files)
    documents.push(...checkPolicies(reader, await readDocuments(reader, file, top(file))));
  return { documents, sources: reader.sources(), problems: inOrder(reader.problems) };
}

/** Reads files of either sort: each with a GatewayConfig as a configuration of its own, the others as policies. */
export async function loadFiles(
  files: readonly string[],
): Promise<{ configurations: LoadedConfiguration[]; policies: LoadedPolicies }> {
  const reader = createReader();
  const configurations: LoadedConfiguration[] = [];
  const documents: SourcedDocument[] = [];
  for (const file of files) {
    const own = createReader();
    const found = await readDocuments(own, file, top(file));
    if (found.some(isConfiguration)) configurations.push(await completeConfiguration(file, found, own));
    else {
      documents.push(...checkPolicies(own, found));
      reader.absorb(own);
    }
  }
  return {
    configurations,
    policies: { documents, sources: reader.sources(), problems: inOrder(reader.problems) },
  };
}

/** Reads a users file. `users` is null when anything in it was refused. */
export async function loadUsers(
  file: string,
): Promise<{ users: UserTable | null; sources: Sources; problems: Problem[] }> {
  const reader = createReader();
  const users = await readUsers(reader, file, top(file));
  return { users, sources: reader.sources(), problems: reader.problems };
}

/** The state of the same sources now; equal maps mean that reading again would give the same. */
export async function stampsNow({ files, globs }: Sources): Promise<ReadonlyMap<string, string>> {
  const paths = new Set(files);
  for (const { folder, pattern } of globs)
    for (const match of await matchesOf(folder, pattern)) paths.add(resolve(folder, match));
  const stamps = new Map<string, string>();
  for (const path of paths) stamps.set(path, await stampOf(path));
  return stamps;
}

async function completeConfiguration(
  file: string,
  found: readonly YamlDocument[],
  reader: Reader,
): Promise<LoadedConfiguration> {
  const document = theConfiguration(file, found, reader);
  const config = document && checked<GatewayConfig>(reader, document, [configKind]);
  // Of the text rather than of the checked value: a slip elsewhere must not hide the problems of these files.
  const documents = document ? await readPolicies(reader, document) : [];
  const users = document ? await readNamedUsers(reader, document) : null;
  const problems = inOrder(reader.problems);
  const sources = reader.sources();
  if (!config || !users || problems.some(({ severity }) => severity === 'error'))
    return { ok: false, sources, problems };
  return {
    ok: true,
    file,
    config: freeze(withAbsolutePaths(config, dirname(file))),
    documents,
    users,
    sources,
    problems,
  };
}

function theConfiguration(file: string, found: readonly YamlDocument[], reader: Reader): YamlDocument | null {
  const [first, second] = found;
  if (second)
    reader.report(
      { file, ...second.locate([]) },
      'a second document, wanted one GatewayConfig',
      'try a file of its own, named by policies.files',
    );
  // Where nothing was readable, that has been said already.
  if (!first && reader.problems.length === 0)
    reader.report(
      top(file),
      'an empty file, wanted a GatewayConfig',
      `try apiVersion: ${configKind.apiVersion} and kind: GatewayConfig`,
    );
  return first ?? null;
}

async function readPolicies(reader: Reader, document: YamlDocument): Promise<SourcedDocument[]> {
  const documents: SourcedDocument[] = [];
  const folder = dirname(document.file);
  const patterns = textsAt(document.value, ['policies', 'files']);
  const seen = new Set<string>();
  for (const [at, pattern] of patterns.entries()) {
    const place = { file: document.file, ...document.locate(['policies', 'files', at]) };
    for (const file of await filesOf(reader, folder, pattern, place)) {
      // A pattern may reach one file by several names, as the links of a mounted ConfigMap make them.
      const real = await realpath(file).catch(() => resolve(file));
      if (seen.has(real)) continue;
      seen.add(real);
      documents.push(...checkPolicies(reader, await readDocuments(reader, file, place)));
    }
  }
  return documents;
}

/** Files that a pattern stands for, in the order of their names; a pattern without special characters is a name. */
async function filesOf(reader: Reader, folder: string, pattern: string, place: Place): Promise<string[]> {
  if (!/[*?[\]{}()!]/.test(pattern)) return [resolveFrom(folder, pattern)];
  const matches = await matchesOf(folder, pattern);
  await reader.watchPattern(folder, pattern, matches);
  if (matches.length === 0)
    reader.report(
      place,
      `no file matches ${quote(pattern)}, wanted at least one in ${quote(join(folder, dirname(pattern)))}`,
      'try the path from the folder of this file',
    );
  return matches.map(match => resolveFrom(folder, match));
}

async function matchesOf(folder: string, pattern: string): Promise<string[]> {
  const matches: string[] = [];
  for await (const match of glob(pattern, { cwd: folder })) {
    matches.push(match);
    if (matches.length > fileLimits.files) break;
  }
  return matches.sort();
}

async function readNamedUsers(reader: Reader, document: YamlDocument): Promise<UserTable | null> {
  const [file] = textsAt(document.value, ['users', 'file']);
  if (file === undefined) return new Map();
  const place = { file: document.file, ...document.locate(['users', 'file']) };
  return readUsers(reader, resolveFrom(dirname(document.file), file), place);
}

async function readUsers(reader: Reader, file: string, place: Place): Promise<UserTable | null> {
  const text = await reader.read(file, place);
  if (text === null) return null;
  const { users, problems } = parseUsers(text, file);
  reader.problems.push(...problems);
  return users;
}

async function readDocuments(reader: Reader, file: string, place: Place): Promise<YamlDocument[]> {
  const text = await reader.read(file, place);
  if (text === null) return [];
  const { documents, problems } = await parseDocuments(text, file);
  reader.problems.push(...problems);
  return documents.flatMap(unfoldLists);
}

function checkPolicies(reader: Reader, documents: readonly YamlDocument[]): SourcedDocument[] {
  return documents.flatMap(document => {
    const value = checked<object>(reader, document, policyKinds);
    return value === null ? [] : [{ ...document, value }];
  });
}

function checked<T>(reader: Reader, document: YamlDocument, kinds: readonly Kind[]): T | null {
  const kind = kindOf(document, kinds);
  if ('message' in kind) {
    reader.problems.push(kind);
    return null;
  }
  const { value, problems } = checkDocument(kind.schema, document);
  if (problems) reader.problems.push(...problems);
  return value as T | null;
}

function isConfiguration({ value }: YamlDocument): boolean {
  return (value as { kind?: unknown } | null)?.kind === configKind.kind;
}

type Place = Pick<Problem, 'file' | 'line' | 'column'>;

function top(file: string): Place {
  return { file, line: 1, column: 1 };
}

type Reader = ReturnType<typeof createReader>;

/** Reads text files within the limits and keeps what a configuration came from and what was wrong with it. */
function createReader() {
  const files: string[] = [];
  const globs: { folder: string; pattern: string }[] = [];
  const stamps = new Map<string, string>();
  const problems: Problem[] = [];
  let totalBytes = 0;

  function report(place: Place, message: string, remedy: string): void {
    problems.push({ ...place, severity: 'error', message, remedy });
  }

  return {
    problems,
    report,
    async watchPattern(folder: string, pattern: string, matches: readonly string[]): Promise<void> {
      globs.push({ folder: resolve(folder), pattern });
      for (const match of matches) stamps.set(resolve(folder, match), await stampOf(resolve(folder, match)));
    },
    sources: (): Sources => ({ files, globs, stamps }),
    absorb(other: { problems: Problem[]; sources(): Sources }): void {
      problems.push(...other.problems);
      files.push(...other.sources().files);
      for (const [file, stamp] of other.sources().stamps) stamps.set(file, stamp);
    },
    /** The text, or null when a problem was reported: at `place` if the file cannot be read, else in the file. */
    async read(file: string, place: Place): Promise<string | null> {
      files.push(resolve(file));
      stamps.set(resolve(file), await stampOf(file));
      try {
        if (files.length > fileLimits.files) throw tooManyFiles();
        const bytes = await readBytes(file);
        totalBytes += bytes.length;
        if (totalBytes > fileLimits.totalBytes) throw tooManyBytes();
        const text = decode(bytes);
        if (text === null)
          report(badUtf8(file, bytes), 'bytes that are not UTF-8', 'try saving the file as UTF-8');
        return text;
      } catch (error) {
        const { message, remedy } = asUnreadable(error as Error);
        report(place, `cannot read ${quote(file)}: ${message}`, remedy);
        return null;
      }
    },
  };
}

class Unreadable extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

const tooManyFiles = () =>
  new Unreadable(`it is one of more than ${fileLimits.files} files`, 'try a narrower pattern');

const tooManyBytes = () =>
  new Unreadable(`the files are longer than ${inMiB(fileLimits.totalBytes)} together`, 'try fewer rules');

function asUnreadable(error: NodeJS.ErrnoException): Unreadable {
  if (error instanceof Unreadable) return error;
  if (error.code === 'ENOENT')
    return new Unreadable('no such file', 'try the path from the folder of the file that names it');
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new Unreadable('permission denied', 'try making it readable for this user');
  return new Unreadable(error.message, 'try another file');
}

async function readBytes(file: string): Promise<Buffer> {
  // Asked before it is opened: opening a pipe would wait for its other end.
  if (!(await stat(file)).isFile()) throw new Unreadable('it is no regular file', 'try the path of a file');
  await using handle = await open(file);
  const buffer = Buffer.allocUnsafe(Math.min((await handle.stat()).size, fileLimits.bytes) + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
    if (bytesRead === 0) return buffer.subarray(0, length);
    length += bytesRead;
  }
  if (length <= fileLimits.bytes) throw new Unreadable('it grew while it was read', 'try again');
  throw new Unreadable(`it is longer than ${inMiB(fileLimits.bytes)}`, 'try several files');
}

/** Identity, size and times of a file, or why there are none; different after any change. */
async function stampOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unreadable';
  }
}

function decode(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function badUtf8(file: string, bytes: Buffer): Place {
  const lines = bytes.toString('utf8').split('\uFFFD', 1)[0]!.split('\n');
  return { file, line: lines.length, column: lines.at(-1)!.length + 1 };
}

function inMiB(bytes: number): string {
  return `${bytes / 1024 ** 2} MiB`;
}

/** As written where it is absolute, else from `folder`; short, for messages. */
function resolveFrom(folder: string, file: string): string {
  return file.startsWith('/') ? normalize(file) : join(folder, file);
}

/** The texts in the list at this path, or the text; nothing for anything else. */
function textsAt(value: unknown, path: Path): string[] {
  const found = path.reduce<unknown>(
    (at, step) => (at as Record<string, unknown> | null | undefined)?.[step],
    value,
  );
  return (Array.isArray(found) ? found : [found]).filter(each => typeof each === 'string' && each !== '');
}

function withAbsolutePaths(config: GatewayConfig, folder: string): GatewayConfig {
  const { users, log, kubernetes } = config;
  return {
    ...config,
    ...(users && { users: { file: resolve(folder, users.file) } }),
    ...(kubernetes && { kubernetes: withAbsoluteKubernetesPaths(kubernetes, folder) }),
    log: { ...log, output: log.output === 'stdout' ? log.output : resolve(folder, log.output) },
  };
}

function withAbsoluteKubernetesPaths(
  kubernetes: NonNullable<GatewayConfig['kubernetes']>,
  folder: string,
): NonNullable<GatewayConfig['kubernetes']> {
  const { kubeconfig, savedState } = kubernetes;
  return {
    ...kubernetes,
    ...(kubeconfig !== undefined && { kubeconfig: resolve(folder, kubeconfig) }),
    ...(savedState && { savedState: { file: resolve(folder, savedState.file) } }),
  };
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}
