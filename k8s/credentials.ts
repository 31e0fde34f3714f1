// What the Kubernetes API is shown: certificates and tokens from files that are read again, exec plugins, OpenID.
// It sends nothing; connect-api.ts does.
//
// Threats: a token that was rotated, so files are read again within a minute; a credential in a message, so what files
// and plugins say is never quoted; a plugin that hangs, which has a time limit.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { User } from '@kubernetes/client-node/dist/config_types.js';
import { ExecAuth } from '@kubernetes/client-node/dist/exec_auth.js';
import type { Account, Target } from './kubeconfig.ts';

/** What TLS needs, by the names of `tls.ConnectionOptions`. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: false;
}

export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsMaterial;
}

/** How long what was read from files is used: a minute, as client-go does; tokens are rotated long before they end. */
const filesKeptMs = 60_000;

/** How long a plugin may take. */
const pluginTimeoutMs = 60_000;

interface FromFiles {
  readonly token: string | null;
  readonly tls: TlsMaterial;
}

interface Provided {
  readonly authorization?: string;
  readonly tls?: TlsMaterial;
}

export class CredentialSource {
  readonly #target: Target;
  /** `performance.now()`, or a test's. */
  readonly #nowMs: () => number;
  #exec = new ExecAuth();
  #oidc: Pick<ExecAuth, 'applyAuthentication'> | null = null;
  #files: FromFiles | null = null;
  #readMs = Number.NEGATIVE_INFINITY;
  #pending: Promise<Credentials> | null = null;

  constructor(target: Target, nowMs: () => number = () => performance.now()) {
    this.#target = target;
    this.#nowMs = nowMs;
  }

  /**
   * What to show now; callers at the same time share one answer.
   * @throws Error that names the file or the plugin that failed, and nothing of what it holds
   */
  current(): Promise<Credentials> {
    this.#pending ??= this.#gather().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** After the server refused what it was shown: files and plugins are asked again. */
  forget(): void {
    this.#readMs = Number.NEGATIVE_INFINITY;
    this.#exec = new ExecAuth();
  }

  async #gather(): Promise<Credentials> {
    const { account } = this.#target;
    const { token, tls } = await this.#fromFiles();
    const provided = await this.#provided();
    const authorization = provided.authorization ?? authorizationOf(account, token);
    return {
      headers: {
        ...(authorization && { authorization }),
        ...(account.impersonateUser && { 'impersonate-user': account.impersonateUser }),
      },
      tls: { ...tls, ...provided.tls },
    };
  }

  /** A file that cannot be read now leaves in force what was read before. */
  async #fromFiles(): Promise<FromFiles> {
    const now = this.#nowMs();
    if (this.#files && now - this.#readMs < filesKeptMs) return this.#files;
    try {
      this.#files = await readFiles(this.#target);
      this.#readMs = now;
    } catch (error) {
      if (this.#files === null) throw error;
    }
    return this.#files;
  }

  /** From an exec plugin or an OpenID provider; the library remembers it until it expires. */
  async #provided(): Promise<Provided> {
    const { account } = this.#target;
    const provider = this.#exec.isAuthProvider(account) ? this.#exec : await this.#openIdProvider();
    if (provider === null) return {};
    const options: { headers: Record<string, string>; cert?: string; key?: string } = { headers: {} };
    await withinLimit(provider.applyAuthentication(account, options)).catch(() => {
      throw new Error(`the credential plugin of user ${account.name} failed; ${remedyFor(account)}`);
    });
    const { headers, cert, key } = options;
    return {
      ...(headers.Authorization && { authorization: headers.Authorization }),
      ...(cert && key && { tls: { cert, key } }),
    };
  }

  /** Loaded only where a kubeconfig asks for it: it brings the whole library along. */
  async #openIdProvider(): Promise<Pick<ExecAuth, 'applyAuthentication'> | null> {
    if (this.#target.account.authProvider?.name !== 'oidc') return null;
    const { OpenIDConnectAuth } = await import('@kubernetes/client-node/dist/oidc_auth.js');
    this.#oidc ??= new OpenIDConnectAuth();
    return this.#oidc;
  }
}

/** The file outweighs the token in the kubeconfig, as in client-go. */
function authorizationOf({ token, username, password }: User, fileToken: string | null): string | null {
  const bearer = fileToken ?? token?.trim();
  if (bearer) return `Bearer ${bearer}`;
  return username ? `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}` : null;
}

function remedyFor({ exec }: Account): string {
  return exec?.command ? `run ${path.basename(exec.command)} by hand to see why` : 'see what kubectl says';
}

async function withinLimit(promise: Promise<void>): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('too late')), pluginTimeoutMs);
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function readFiles({ cluster, account }: Target): Promise<FromFiles> {
  const [ca, cert, key, token] = await Promise.all([
    textOf(cluster.caFile, cluster.caData),
    textOf(account.certFile, account.certData),
    textOf(account.keyFile, account.keyData),
    textOf(account.tokenFile, undefined),
  ]);
  const tls: TlsMaterial = {
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(cluster.tlsServerName && { servername: cluster.tlsServerName }),
    ...(cluster.skipTLSVerify && { rejectUnauthorized: false as const }),
  };
  return { tls, token };
}

/** An empty file is an error: without its CA the system's would be trusted. */
async function textOf(file: string | undefined, base64: string | undefined): Promise<string | null> {
  if (!file) return base64 ? Buffer.from(base64, 'base64').toString() : null;
  const text = await readFile(file, 'utf8').catch(error => {
    throw new Error(`cannot read ${file} (${error.code})`);
  });
  if (text.trim() === '') throw new Error(`${file} is empty`);
  return text.trim();
}
