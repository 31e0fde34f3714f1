// Containers of the image under test, as strict as a cluster may run them: a read-only root, no capability, no new
// privileges, and whatever user and command the image itself names. It builds no image; .ci/image does.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type JsonLines, jsonLines } from '../support/json-lines.ts';
import type { Closable } from '../support/lifetime.ts';
import type { SessionRecord } from '../support/session-record.ts';
import { eventually, within } from '../support/waiting.ts';

const run = promisify(execFile);

export const image = process.env.SALLYPORT_IMAGE ?? '';
if (image === '') throw new Error('SALLYPORT_IMAGE names no image: run .ci/image, which makes one');

const restricted = [
  '--rm',
  '--network=host',
  '--http-proxy=false',
  '--read-only',
  '--read-only-tmpfs=false',
  '--cap-drop=all',
  '--security-opt=no-new-privileges',
];

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

export async function podman(...args: string[]): Promise<Outcome> {
  try {
    return { code: 0, ...(await run('podman', args, { maxBuffer: 1e8 })) };
  } catch (error) {
    const { code, stdout, stderr } = error as Outcome;
    if (typeof code !== 'number') throw error;
    return { code, stdout, stderr };
  }
}

export interface ContainerOptions {
  /** In place of the image's own command. */
  args?: string[];
  /** In place of the image's own entry point. */
  entrypoint?: string;
  /** In place of the image's own user. */
  user?: string;
  /** In place of the image's own working folder. */
  folder?: string;
  /** A folder of this machine, read-only at a place in the container. */
  mount?: { from: string; to: string };
  /** Keeps standard input open. */
  interactive?: boolean;
}

function commandLine(
  { args = [], entrypoint, user, folder, mount, interactive }: ContainerOptions,
  more: string[],
): string[] {
  return [
    'run',
    ...restricted,
    ...(entrypoint === undefined ? [] : [`--entrypoint=${entrypoint}`]),
    ...(user === undefined ? [] : [`--user=${user}`]),
    ...(folder === undefined ? [] : [`--workdir=${folder}`]),
    ...(mount === undefined ? [] : [`--volume=${mount.from}:${mount.to}:ro`]),
    ...(interactive ? ['--interactive'] : []),
    ...more,
    image,
    ...args,
  ];
}

/** Runs a container to its end. */
export const runContainer = (options: ContainerOptions) => podman(...commandLine(options, []));

interface Message {
  msg?: string;
  listener?: string;
  port?: number;
  [field: string]: unknown;
}

export interface Container extends Closable {
  readonly name: string;
  /** Process id of the container's first process, as this machine sees it. */
  readonly pid: number;
  readonly records: JsonLines<SessionRecord>;
  readonly messages: JsonLines<Message>;
  readonly process: ChildProcess;
  /** The exit code of the container's first process. */
  readonly exited: Promise<number>;
}

export async function startContainer(options: ContainerOptions): Promise<Container> {
  const name = `sallyport-${randomUUID()}`;
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-image-'));
  const pidFile = path.join(folder, 'pid');
  const child = spawn('podman', commandLine(options, [`--name=${name}`, `--pidfile=${pidFile}`]), {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit').then(([code]) => code as number);
  const messages = jsonLines<Message>(child.stderr, 'lenient');
  const records = jsonLines<SessionRecord>(child.stdout, 'lenient');
  const readPid = async () => {
    if (child.exitCode !== null) throw new Error(`podman ended with ${child.exitCode}: ${messages.text()}`);
    return Number(await readFile(pidFile, 'utf8').catch(() => 0)) || undefined;
  };
  const pid = await eventually(readPid, 'the container to start', messages.text);
  return {
    name,
    pid,
    records,
    messages,
    process: child,
    exited,
    async close() {
      await podman('rm', '--force', '--ignore', '--time=0', name);
      await within(exited, 'podman to end');
      await rm(folder, { recursive: true });
    },
  };
}

export interface ConfigurationFolder extends Closable {
  readonly folder: string;
  write(name: string, text: string): Promise<void>;
}

/** What a cluster mounts at /etc/sallyport, readable by everybody as ConfigMaps are. */
export async function configurationFolder(files: Record<string, string>): Promise<ConfigurationFolder> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-image-'));
  await chmod(folder, 0o755);
  const write = (name: string, text: string) => writeFile(path.join(folder, name), text, { mode: 0o644 });
  for (const [name, text] of Object.entries(files)) await write(name, text);
  return { folder, write, close: () => rm(folder, { recursive: true }) };
}

/** A gateway from the image, with the image's own command, that serves. */
export async function startServing(configuration: ConfigurationFolder) {
  const container = await startContainer({ mount: { from: configuration.folder, to: '/etc/sallyport' } });
  const ended = container.exited.then(code => {
    throw new Error(`the container ended with ${code}: ${container.messages.text()}`);
  });
  // Nobody waits for it once the gateway is ready.
  ended.catch(() => {});
  try {
    await Promise.race([container.messages.waitFor(({ msg }) => msg === 'ready'), ended]);
  } catch (error) {
    await container.close();
    throw error;
  }
  const port = (listener: string) =>
    container.messages.lines().find(each => each.msg === 'listening' && each.listener === listener)!.port!;
  return { ...container, proxy: port('proxy'), admin: port('admin') };
}
