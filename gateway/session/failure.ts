// Every way in which a session can fail, as one union. Whoever notices a failure throws it; whoever answers
// the client maps it (entry/http-replies.ts, entry/socks-replies.ts: exhaustive tables). It knows no protocol.

export const failureKinds = [
  // what the client sent
  'bad-request',
  'unknown-protocol',
  'request-timeout',
  'head-too-large',
  'body-too-large',
  'expectation-failed',
  'unsupported-command',
  'unsupported-address-type',
  'unsupported-authentication',
  // who the client is
  'authentication-required',
  'authentication-failed',
  'authentication-busy',
  'authentication-unavailable',
  'identity-conflict',
  'identity-in-doubt',
  'workload-ended',
  // what policy says
  'denied-by-name',
  'denied-by-address',
  'denied-by-server-name',
  'policy-changed',
  // what the gateway can take
  'client-limit',
  'session-limit',
  'draining',
  'log-unwritable',
  'out-of-descriptors',
  // the name
  'name-not-found',
  'name-without-address',
  'resolve-failed',
  'resolve-timeout',
  'resolve-busy',
  // the way out
  'no-source-address',
  'source-refused',
  'source-address-lost',
  'connect-refused',
  'connect-timeout',
  'connect-reset',
  'network-unreachable',
  'host-unreachable',
  'connect-failed',
  // the origin of a plain HTTP request
  'origin-busy',
  'origin-closed',
  'origin-timeout',
  'origin-protocol',
  // ourselves, or the other end, going away
  'client-gone',
  'internal',
] as const;

export type FailureKind = (typeof failureKinds)[number];

/** A failure on its way to the one place that answers the client. `message` is for people: one line, no secret. */
export class Failure extends Error {
  readonly kind: FailureKind;
  /** What the client asked for, where that could not be parsed; for the record. */
  readonly target: string | null;
  /** What would help, for the body of an answer; null where nothing is known. */
  hint: string | null = null;

  constructor(
    kind: FailureKind,
    message: string,
    options: ErrorOptions & { target?: string | undefined } = {},
  ) {
    super(message, options);
    this.kind = kind;
    this.target = options.target ?? null;
  }
}

const connectKinds: Record<string, FailureKind> = {
  ECONNREFUSED: 'connect-refused',
  ECONNRESET: 'connect-reset',
  ETIMEDOUT: 'connect-timeout',
  ENETUNREACH: 'network-unreachable',
  EHOSTUNREACH: 'host-unreachable',
  EADDRNOTAVAIL: 'no-source-address',
  EADDRINUSE: 'no-source-address',
  EMFILE: 'out-of-descriptors',
  ENFILE: 'out-of-descriptors',
};

/** The kind of an error that a connection attempt ended with. */
export function connectFailure(error: NodeJS.ErrnoException, target: string): Failure {
  const kind = connectKinds[error.code ?? ''] ?? 'connect-failed';
  return new Failure(kind, `connecting to ${target}: ${error.code ?? error.message}`, { cause: error });
}

/** Any thrown value as text for the gateway's own messages, never for a client or a record. */
export const stackOf = (thrown: unknown): string =>
  thrown instanceof Error ? (thrown.stack ?? String(thrown)) : String(thrown);

/** Any thrown value as a Failure; what nobody foresaw is `internal`, and its text stays inside. */
export function asFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  return new Failure('internal', 'the gateway failed', { cause: thrown });
}
