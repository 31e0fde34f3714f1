// The Kubernetes API as the rest of this folder uses it: a few calls on paths, plain JSON in and out. Types and the
// error; connect-api.ts makes one. It knows no resource.

/** The media types of PATCH that are used here (Kubernetes' `types.PatchType`). */
export type PatchType =
  | 'application/merge-patch+json'
  | 'application/json-patch+json'
  | 'application/apply-patch+yaml';

/** `metav1.WatchEvent`. The object of BOOKMARK holds no more than kind and resourceVersion; that of ERROR is a Status. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: unknown;
}

export interface WatchOptions {
  readonly resourceVersion: string;
  /** Ends the watch; it then resolves. */
  readonly signal: AbortSignal;
  /** Silence, in milliseconds, after which the connection is taken for dead. */
  readonly inactivityMs: number;
  /** Called once the server has begun to answer. */
  onOpen?(): void;
  /** Never called with an ERROR: that rejects the watch. What it throws, the watch rejects with. */
  onEvent(event: WatchEvent): void;
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** Every call has a time limit and rejects with an ApiError; none is made again by itself. */
export interface Api {
  /** Where it is, for messages and for the guard. */
  readonly server: URL;
  get(path: string, query?: Query): Promise<unknown>;
  create(path: string, body: object, options?: { timeoutMs?: number }): Promise<unknown>;
  replace(path: string, body: object): Promise<unknown>;
  patch(path: string, body: object, type: PatchType, query?: Query): Promise<unknown>;
  delete(path: string): Promise<void>;
  /** Resolves when the server or the signal ended it; rejects with an ApiError, 410 where the version is too old. */
  watch(path: string, options: WatchOptions): Promise<void>;
  /** Calls so far, by outcome: answered, answered with an error, not answered. */
  counts(): Readonly<Record<'ok' | 'refused' | 'failed', number>>;
  close(): Promise<void>;
}

/** The server's refusal, or that it did not answer (`status` 0). The message holds no credential. */
export class ApiError extends Error {
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** `metav1.Status.reason`, such as `Conflict`; empty where there is none. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.status = status;
    this.reason = reason;
  }
}
