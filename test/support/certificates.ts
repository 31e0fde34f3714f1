// A throw-away certificate authority and the leaves it signs, made with the system's openssl in a temporary folder.
// For tests only: keys lie in files, and everything expires in a few days.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Closable } from './lifetime.ts';

const run = promisify(execFile);

export interface Leaf {
  key: string;
  cert: string;
}

export interface Authority extends Closable {
  /** The CA certificate, for `--cacert`, `NODE_EXTRA_CA_CERTS` and `http.sslCAInfo`. */
  caFile: string;
  ca: string;
  /** A server certificate for these names and addresses. */
  issue(...names: string[]): Promise<Leaf>;
}

const ecKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3'];

const subjectAltName = (names: string[]) =>
  `subjectAltName=${names.map(name => (isIP(name) ? `IP:${name}` : `DNS:${name}`)).join(',')}`;

async function issue(folder: string, names: string[]): Promise<Leaf> {
  const stem = path.join(folder, `leaf-${crypto.randomUUID()}`);
  const request = [
    'req',
    ...ecKey,
    '-keyout',
    `${stem}.key`,
    '-out',
    `${stem}.csr`,
    '-subj',
    '/CN=test origin',
  ];
  await run('openssl', request);
  await writeFile(`${stem}.ext`, `${subjectAltName(names)}\nextendedKeyUsage=serverAuth\n`);
  const ca = ['-CA', path.join(folder, 'ca.pem'), '-CAkey', path.join(folder, 'ca.key')];
  const serial = ['-set_serial', `0x${crypto.randomUUID().replaceAll('-', '')}`];
  const sign = ['x509', '-req', '-in', `${stem}.csr`, ...ca, ...serial, '-out', `${stem}.pem`, '-days', '3'];
  await run('openssl', [...sign, '-extfile', `${stem}.ext`]);
  return { key: await readFile(`${stem}.key`, 'utf8'), cert: await readFile(`${stem}.pem`, 'utf8') };
}

export async function makeAuthority(): Promise<Authority> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sallyport-ca-'));
  const caFile = path.join(folder, 'ca.pem');
  const files = ['-keyout', path.join(folder, 'ca.key'), '-out', caFile];
  await run('openssl', ['req', '-x509', ...ecKey, ...files, '-subj', '/CN=Sallyport test CA']);
  return {
    caFile,
    ca: await readFile(caFile, 'utf8'),
    issue: (...names) => issue(folder, names),
    close: () => rm(folder, { recursive: true, force: true }),
  };
}
