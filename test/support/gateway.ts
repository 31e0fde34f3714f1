// The gateway under test: the real process, its own temporary folder, free ports, its records and messages as they come.
// It imports nothing of the gateway; whatever it knows it knows by the documented interfaces.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import { type JsonLines, jsonLines } from './json-lines.ts';
import type { Closable } from './lifetime.ts';
import type { SessionRecord } from './session-record.ts';
import { eventually, within } from './waiting.ts';

const root = path.resolve(import.meta.dirname, '../..');
/** The launcher's own: what is started a hundred times need not be compiled a hundred times. */
const compileCache = path.join(root, 'node_modules/.cache/compile');

export interface GatewayOptions {
  /** Laid over the defaults below: objects are merged, everything else replaced. */
  config?: Record<string, unknown>;
  /** Policy objects, or the text of a policy file. */
  policies?: object[] | string;
  /** The text of the users file. */
  users?: string;
  /** `dns.server` of a test DNS server. */
  dns?: string;
  /** Put before the command, e.g. `['prlimit', '--nofile=64']`. */
  command?: string[];
  env?: Record<string, string>;
  /** The gateway's message that is waited for; by default the last one of a start. */
  until?: string;
}

interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A message of the gateway on standard error. */
interface Message {
  msg?: string;
  level?: string | number;
  listener?: string;
  address?: string;
  port?: number;
  [field: string]: unknown;
}

export interface Gateway extends Closable {
  folder: string;
  pid: number;
  process: ChildProcess;
  /** Ports of the two default listeners and of the admin server. */
  proxy: number;
  socks: number;
  admin: number;
  listener(name: string): { address: string; port: number };
  /** All lines of the decision log so far. Throws when a line does not parse. */
  records(): SessionRecord[];
  waitForRecord(matches: (record: SessionRecord) => boolean): Promise<SessionRecord>;
  messages(): Message[];
  waitForMessage(matches: (message: Message) => boolean): Promise<Message>;
  /** Everything on standard error. */
  stderr(): string;
  writePolicies(policies: object[] | string): Promise<void>;
  writeConfig(overrides: Record<string, unknown>): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Samples of /metrics by name with labels as printed. */
  metrics(): Promise<Map<string, number>>;
  exited: Promise<Exit>;
  /** SIGTERM, and waits for the exit. */
  stop(): Promise<Exit>;
}

const defaults = (options: GatewayOptions) => ({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  listeners: [
    { name: 'proxy', address: '127.0.0.1', port: 0, protocols: ['http', 'socks5'] },
    { name: 'socks', address: '127.0.0.1', port: 0, protocols: ['socks5'] },
  ],
  admin: { address: '127.0.0.1', port: 0 },
  policies: { files: ['policies/*.yaml'] },
  ...(options.users === undefined ? {} : { users: { file: 'users.htpasswd' } }),
  ...(options.dns === undefined ? {} : { dns: { servers: [options.dns] } }),
  limits: { drainTimeout: '2s' },
  log: { output: 'stdout', messages: 'json' },
  threads: 1,
});

/** Laid over every configuration: the same tests on another data plane, e.g. `{"threads": 2}`. */
const everyConfig = JSON.parse(process.env['SALLYPORT_TEST_CONFIG'] ?? '{}') as Record<string, unknown>;

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function merge(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const old = merged[key];
    merged[key] = isPlain(old) && isPlain(value) ? merge(old, value) : value;
  }
  return merged;
}

const policyText = (policies: object[] | string) =>
  typeof policies === 'string' ? policies : policies.map(policy => `---\n${stringify(policy)}`).join('');

interface Files {
  folder: string;
  configured: Record<string, unknown>;
  configFile: string;
  writePolicies(policies: object[] | string): Promise<void>;
  writeConfig(overrides: Record<string, unknown>): Promise<void>;
}

async function writeFiles(options: GatewayOptions): Promise<Files> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-test-'));
  await mkdir(path.join(folder, 'policies'));
  const configFile = path.join(folder, 'gateway.yaml');
  const configured = merge(merge(defaults(options), everyConfig), options.config ?? {});
  const files: Files = {
    folder,
    configured,
    configFile,
    writePolicies: policies => writeFile(path.join(folder, 'policies', 'test.yaml'), policyText(policies)),
    writeConfig: overrides => writeFile(configFile, stringify(merge(configured, overrides))),
  };
  await files.writePolicies(options.policies ?? []);
  await files.writeConfig({});
  if (options.users !== undefined) await writeFile(path.join(folder, 'users.htpasswd'), options.users);
  return files;
}

function launch(files: Files, options: GatewayOptions): ChildProcess {
  const gateway = [process.execPath, '--disable-warning=ExperimentalWarning', 'gateway/main.ts'];
  const [command, ...rest] = [...(options.command ?? []), ...gateway, 'serve', '--config', files.configFile];
  const child = spawn(command!, rest, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE: compileCache, ...options.env },
  });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  child.on('exit', () => process.off('exit', kill));
  return child;
}

/** With two threads, one comes when the other serves already; streams have none. */
const lastOfStart = ({ threads, relay }: Record<string, unknown>) =>
  threads === 2 && !(isPlain(relay) && relay.mode === 'streams') ? 'data-plane threads serve, too' : 'ready';

async function ready(messages: JsonLines<Message>, exited: Promise<Exit>, last: string): Promise<void> {
  let exit: Exit | undefined;
  void exited.then(value => {
    exit = value;
  });
  const isReady = () => {
    if (exit !== undefined)
      throw new Error(`the gateway ended (${JSON.stringify(exit)}): ${messages.text()}`);
    return messages.lines().some(message => message.msg === last) || undefined;
  };
  await eventually(isReady, 'the gateway to be ready', messages.text);
}

const sample = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)/;

async function scrape(port: number): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const samples = text.split('\n').flatMap(line => {
    const [, name, value] = sample.exec(line) ?? [];
    return name === undefined ? [] : [[name, Number(value)] as [string, number]];
  });
  return new Map(samples);
}

/** SIGTERM; a gateway that does not go is killed, and that is an error. */
async function stop(child: ChildProcess, exited: Promise<Exit>, stderr: () => string): Promise<Exit> {
  child.kill('SIGTERM');
  try {
    return await within(exited, 'the gateway to exit', stderr);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/** Starts a gateway and waits until it serves. */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const files = await writeFiles(options);
  const child = launch(files, options);
  // Not 'exit': the last records may still be in the pipe then.
  const exited = once(child, 'close').then(([code, signal]) => ({ code, signal }) as Exit);
  const records = jsonLines<SessionRecord>(child.stdout!, 'strict');
  const messages = jsonLines<Message>(child.stderr!, 'lenient');
  const clean = () => rm(files.folder, { recursive: true, force: true });
  try {
    await ready(messages, exited, options.until ?? lastOfStart(files.configured));
  } catch (error) {
    child.kill('SIGKILL');
    await clean();
    throw error;
  }
  const listener = (name: string) => {
    const found = messages.lines().find(each => each.msg === 'listening' && each.listener === name);
    return { address: found?.address ?? '', port: found?.port ?? 0 };
  };
  const admin = listener('admin').port;
  return {
    ...files,
    pid: child.pid!,
    process: child,
    proxy: listener('proxy').port,
    socks: listener('socks').port,
    admin,
    listener,
    records: records.lines,
    waitForRecord: records.waitFor,
    messages: messages.lines,
    waitForMessage: messages.waitFor,
    stderr: messages.text,
    signal: signal => child.kill(signal),
    metrics: () => scrape(admin),
    exited,
    stop: () => stop(child, exited, messages.text),
    async close() {
      await stop(child, exited, messages.text).finally(clean);
    },
  };
}
