// An API server of a few lines: objects by path, resourceVersions with conflicts, merge patches, watches. It validates
// nothing; what a real one says is the cluster tests' business.

import { type Api, ApiError, type PatchType, type Query, type WatchOptions } from '../../k8s/api.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests reach into objects of every kind
export type AnyObject = any;

interface Call {
  readonly verb: 'get' | 'create' | 'replace' | 'patch' | 'delete' | 'watch';
  readonly path: string;
  readonly body?: AnyObject;
  /** Who asks, as given to `as`. */
  readonly from: string;
}

interface Watcher {
  readonly path: string;
  readonly options: WatchOptions;
  end(error?: ApiError): void;
}

export class FakeApiServer {
  readonly objects = new Map<string, AnyObject>();
  readonly calls: Call[] = [];
  /** Throws, or waits, where a test wants trouble; before the call does anything. */
  trouble: (call: Call) => void | Promise<void> = () => {};
  /** As `trouble`, but after it was done: an answer that is lost. */
  lostAnswer: (call: Call) => void | Promise<void> = () => {};
  readonly #watchers = new Set<Watcher>();
  #version = 100;

  /** The server as one of its clients sees it. */
  as(from: string): Api {
    const call = async (verb: Call['verb'], path: string, body: AnyObject, work: () => unknown) => {
      const made: Call = { verb, path, from, ...(body === undefined ? {} : { body: structuredClone(body) }) };
      this.calls.push(made);
      await this.trouble(made);
      const answer = structuredClone(work());
      await this.lostAnswer(made);
      return answer;
    };
    return {
      server: new URL('https://127.0.0.1:6443'),
      get: path => call('get', path, undefined, () => this.#get(path)),
      create: (path, body) => call('create', path, body, () => this.#create(path, body)),
      replace: (path, body) => call('replace', path, body, () => this.#replace(path, body)),
      patch: (path, body, _type: PatchType, _query?: Query) =>
        call('patch', path, body, () => this.#patch(path, body)),
      delete: async path => void (await call('delete', path, undefined, () => this.#delete(path))),
      watch: async (path, options) => {
        const made: Call = { verb: 'watch', path, from };
        this.calls.push(made);
        await this.trouble(made);
        await this.#watch(path, options);
      },
      counts: () => ({ ok: 0, refused: 0, failed: 0 }),
      close: async () => {},
    };
  }

  /** Writes past all checks, as another client would have. */
  put(path: string, object: AnyObject): AnyObject {
    const known = this.objects.get(path);
    const metadata = {
      uid: known?.metadata.uid ?? `uid-${this.#version}`,
      ...object.metadata,
      resourceVersion: String(++this.#version),
    };
    const stored = { ...structuredClone(object), metadata };
    this.objects.set(path, stored);
    this.#announce(known ? 'MODIFIED' : 'ADDED', path, stored);
    return stored;
  }

  /** Ends every watch, with an error where one is given. */
  endWatches(error?: ApiError): void {
    for (const watcher of [...this.#watchers]) watcher.end(error);
  }

  get watching(): number {
    return this.#watchers.size;
  }

  #get(path: string): AnyObject {
    const found = this.objects.get(path);
    if (found) return found;
    const items = [...this.objects].filter(([each]) => isItem(path, each)).map(([, object]) => object);
    if (items.length > 0 || /\/[a-z]+s$/.test(path))
      return { items, metadata: { resourceVersion: String(this.#version) } };
    throw new ApiError(404, 'NotFound', `${path} not found`);
  }

  #create(path: string, body: AnyObject): AnyObject {
    const item = `${path}/${body.metadata.name}`;
    if (this.objects.has(item)) throw new ApiError(409, 'AlreadyExists', `${item} already exists`);
    return this.put(item, body);
  }

  #replace(path: string, body: AnyObject): AnyObject {
    this.#check(path, body);
    return this.put(path, body);
  }

  #patch(path: string, body: AnyObject): AnyObject {
    const item = path.replace(/\/status$/, '');
    const known = this.#check(item, body);
    const change = item === path ? body : { status: body.status };
    return this.put(item, merged(known, change));
  }

  #delete(path: string): undefined {
    const known = this.#check(path, {});
    this.objects.delete(path);
    this.#announce('DELETED', path, {
      ...known,
      metadata: { ...known.metadata, resourceVersion: String(++this.#version) },
    });
  }

  #check(path: string, body: AnyObject): AnyObject {
    const known = this.objects.get(path);
    if (!known) throw new ApiError(404, 'NotFound', `${path} not found`);
    const wanted = body.metadata?.resourceVersion;
    if (wanted !== undefined && wanted !== known.metadata.resourceVersion)
      throw new ApiError(409, 'Conflict', `${path} was changed by somebody else`);
    return known;
  }

  #watch(path: string, options: WatchOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const watcher: Watcher = {
        path: path.replace(/\?.*$/, ''),
        options,
        end: error => {
          this.#watchers.delete(watcher);
          if (error) reject(error);
          else resolve();
        },
      };
      this.#watchers.add(watcher);
      options.signal.addEventListener('abort', () => watcher.end(), { once: true });
    });
  }

  #announce(type: 'ADDED' | 'MODIFIED' | 'DELETED', path: string, object: AnyObject): void {
    for (const watcher of [...this.#watchers])
      if (isItem(watcher.path, path)) watcher.options.onEvent({ type, object: structuredClone(object) });
  }
}

const isItem = (collection: string, path: string) =>
  path.startsWith(`${collection}/`) && !path.slice(collection.length + 1).includes('/');

/** RFC 7386. */
function merged(target: AnyObject, change: AnyObject): AnyObject {
  if (typeof change !== 'object' || change === null || Array.isArray(change)) return change;
  const base = typeof target === 'object' && target !== null && !Array.isArray(target) ? target : {};
  const result = { ...base };
  for (const [key, value] of Object.entries(change)) {
    if (value === null) delete result[key];
    else result[key] = merged(base[key], value);
  }
  return result;
}
