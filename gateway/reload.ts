// Notices that configuration files are no longer as they were read, and has them read again.
// It compares states and never contents, reads no configuration itself, and decides nothing about what it would say.

import { type FSWatcher, watch } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Sources, stampsNow } from '../config/load.ts';

export interface WatchOptions {
  /** What the last attempt to load was made from, the failed one too. */
  sources(): Sources;
  /** Loads again. Never called while it still runs. After it, `sources` tells of this attempt. */
  reload(): Promise<void>;
  /** How long files must stay as they are before they are read: an editor writes in several steps. Default 200. */
  readonly debounceMs?: number;
  /** How often to look where the operating system told nothing (network file systems, new folders). Default 5000. */
  readonly pollMs?: number;
  /** Told what `reload` threw, or what kept the files from being looked at. */
  onError?(error: Error): void;
}

export interface ConfigurationWatch {
  /** Loads again whether or not anything changed (SIGHUP), after a load under way. Resolves when it is done. */
  reloadNow(): Promise<void>;
  /** No load starts after this; resolves when one under way is done. */
  stop(): Promise<void>;
}

/** Files that change all the time are read after this many waits for them to settle. */
const longestUnrest = 20;

/**
 * Watches the folders of all sources. Whatever happens there (an edit, a rename over the file, the swap of a link as
 * a mounted ConfigMap is updated, a new file that a pattern matches) only leads to a comparison of states, so that
 * events may be lost, repeated or meant for other files. The same state is not tried twice.
 */
export function watchConfiguration(options: WatchOptions): ConfigurationWatch {
  const { sources, reload, debounceMs = 200, pollMs = 5_000 } = options;
  const stopped = new AbortController();
  let watchers: FSWatcher[] = [];
  let names: ReadonlySet<string> = new Set();
  let lastTried: ReadonlyMap<string, string> | null = null;
  let timer: NodeJS.Timeout | undefined;
  let isQueued = false;
  let work: Promise<void> = Promise.resolve();

  /** One after the other, and nothing after `stop`. */
  function enqueue(task: () => Promise<void>): Promise<void> {
    work = work
      .then(() => (stopped.signal.aborted ? undefined : task()))
      .catch(error => {
        if (!stopped.signal.aborted) options.onError?.(error as Error);
      });
    return work;
  }

  async function examine(): Promise<void> {
    isQueued = false;
    const found = await stampsNow(sources());
    if (same(found, sources().stamps) || (lastTried && same(found, lastTried))) return;
    lastTried = await settled(found);
    await load();
  }

  async function settled(found: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, string>> {
    let before = found;
    for (let i = 0; i < longestUnrest; i++) {
      await sleep(debounceMs, undefined, { signal: stopped.signal, ref: false });
      const after = await stampsNow(sources());
      if (same(before, after)) return after;
      before = after;
    }
    return before;
  }

  async function load(): Promise<void> {
    try {
      await reload();
    } finally {
      await watchFolders();
    }
  }

  /** Opened anew after each load: a folder that was replaced tells nothing of the one in its place. */
  async function watchFolders(): Promise<void> {
    closeWatchers();
    const places = await placesOf(sources());
    if (stopped.signal.aborted) return;
    names = places.names;
    watchers = places.folders.flatMap(folder => openWatcher(folder, noticed));
    // What changed before the watchers were open was not told.
    soon();
  }

  function noticed(event: string, name: string | null): void {
    // A log file in the same folder is written to all the time; only its coming and going could matter.
    if (event === 'rename' || name === null || names.has(name)) soon();
  }

  function soon(): void {
    if (isQueued || stopped.signal.aborted) return;
    isQueued = true;
    timer = setTimeout(() => void enqueue(examine), debounceMs).unref();
  }

  function closeWatchers(): void {
    for (const watcher of watchers) watcher.close();
    watchers = [];
  }

  const poll = setInterval(soon, pollMs).unref();
  void enqueue(watchFolders);
  return {
    reloadNow: () => enqueue(load),
    async stop() {
      stopped.abort();
      clearInterval(poll);
      clearTimeout(timer);
      await work;
      closeWatchers();
    },
  };
}

/** Nothing for a folder that cannot be watched (absent, too many watches): the poll is there for it. */
function openWatcher(folder: string, listener: (event: string, name: string | null) => void): FSWatcher[] {
  try {
    const watcher = watch(folder, { persistent: false }, listener);
    watcher.on('error', () => watcher.close());
    return [watcher];
  } catch {
    return [];
  }
}

/** Folders where files are, where links to them lead, and where patterns start; and the names of the files there. */
async function placesOf({ files, globs }: Sources): Promise<{ folders: string[]; names: Set<string> }> {
  const targets = await Promise.all(files.map(file => realpath(file).catch(() => file)));
  const paths = [...files, ...targets];
  const starts = globs.map(({ folder, pattern }) => resolve(folder, fixedPart(pattern)));
  return {
    folders: [...new Set([...paths.map(path => dirname(path)), ...starts])],
    names: new Set(paths.map(path => basename(path))),
  };
}

/** The folders of a pattern before the first with a special character. */
function fixedPart(pattern: string): string {
  const parts = pattern.split('/').slice(0, -1);
  const special = parts.findIndex(part => /[*?[\]{}()!]/.test(part));
  const fixed = join(...(special < 0 ? parts : parts.slice(0, special)));
  return pattern.startsWith('/') ? `/${fixed}` : fixed;
}

function same(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  return one.size === other.size && [...one].every(([file, stamp]) => other.get(file) === stamp);
}
