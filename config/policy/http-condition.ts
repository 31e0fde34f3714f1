// Conditions on plain HTTP requests: methods and paths. They apply where the gateway sees the request; in a tunnel
// it does not. Whatever is unsure closes: an Allow needs to see a request that fits, a Deny holds unless it sees
// one that does not. A path that servers may read in two ways fits no Allow and every Deny.

export interface PathPattern {
  /** With a leading slash; for a prefix, with a trailing one. */
  readonly path: string;
  /** Everything below `path`, and not `path` without its slash. */
  readonly isPrefix: boolean;
}

export interface HttpCondition {
  /** Upper case; null for every method. */
  readonly methods: readonly string[] | null;
  /** Null for every path. */
  readonly paths: readonly PathPattern[] | null;
}

/** `/exact/path`, or `/below/this/*`; null for anything else. */
export function parsePathPattern(text: string): PathPattern | null {
  const isPrefix = text.endsWith('/*');
  const path = plainPath(isPrefix ? text.slice(0, -1) : text);
  return path === null || path.includes('*') ? null : { path, isPrefix };
}

/** Whether an Allow with this condition may match; `request` is undefined where it is not seen. */
export function conditionAllows(condition: HttpCondition, request: HttpRequest | undefined): boolean {
  return request !== undefined && methodFits(condition, request) && pathFits(condition, request, false);
}

/** Whether a Deny with this condition holds. */
export function conditionDenies(condition: HttpCondition, request: HttpRequest | undefined): boolean {
  return request === undefined || (methodFits(condition, request) && pathFits(condition, request, true));
}

interface HttpRequest {
  readonly method: string;
  readonly path: string;
}

function methodFits({ methods }: HttpCondition, { method }: HttpRequest): boolean {
  return methods === null || methods.includes(method);
}

function pathFits({ paths }: HttpCondition, request: HttpRequest, ifUnsure: boolean): boolean {
  if (paths === null) return true;
  const path = plainPath(/^[^?#]*/.exec(request.path)![0]);
  if (path === null) return ifUnsure;
  return paths.some(pattern => (pattern.isPrefix ? path.startsWith(pattern.path) : path === pattern.path));
}

/**
 * A path with one reading, its escapes in upper case (RFC 3986 section 6.2.2.1); null for one that servers may read
 * in two ways: dot segments, empty segments, backslashes, parameters (`;`), and escapes of octets that some decode
 * before they compare (unreserved characters, slash, backslash, percent, semicolon, control octets).
 */
function plainPath(path: string): string | null {
  if (!/^\/[!$&-:=@-[\]_a-z~%]*$/i.test(path) || /\/\/|\/\.{1,2}(\/|$)/.test(path)) return null;
  const escapes = path.match(/%.{0,2}/g) ?? [];
  if (!escapes.every(isHarmlessEscape)) return null;
  return path.replace(/%../g, escaped => escaped.toUpperCase());
}

function isHarmlessEscape(text: string): boolean {
  if (!/^%[0-9A-F]{2}$/i.test(text)) return false;
  const octet = Number.parseInt(text.slice(1), 16);
  return octet >= 0x20 && octet !== 0x7f && !/[A-Za-z0-9._~\-/\\%;]/.test(String.fromCharCode(octet));
}
