// Smokescreen, built by `go install` into a cache folder outside the checkout: the same allowed names as the others,
// its log on. Where there is no Go or it does not build, it is left out with the reason.

import { access, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { cacheFolder, findGo } from '../load/build.ts';
import { output } from './command.ts';
import type { Peer } from './peer.ts';

const release = 'v0.1.0';
const program = () => path.join(cacheFolder(), 'smokescreen');

async function install(): Promise<void> {
  const built = await access(program()).then(
    () => true,
    () => false,
  );
  if (built) return;
  process.stderr.write('bench: building Smokescreen with Go\n');
  await mkdir(cacheFolder(), { recursive: true });
  await output(await findGo(), ['install', `github.com/stripe/smokescreen@${release}`], {
    GOBIN: cacheFolder(),
  });
}

const accessList = (names: readonly string[]) => `
version: v1
services: []
default:
  project: bench
  action: enforce
  allowed_domains:
${names.map(name => `  - ${name}`).join('\n')}
`;

export const smokescreen: Peer = {
  name: 'Smokescreen',
  oneThread: true,
  names: true,
  install,
  version: async () => release.slice(1),
  setup({ policy, folder, threads, ports }) {
    const options = [
      '--listen-ip=127.0.0.1',
      `--listen-port=${ports[0]}`,
      `--config-file=${folder}/config.yaml`,
      `--egress-acl-file=${folder}/acl.yaml`,
      '--allow-range=127.0.0.0/8',
      `--resolver-address=127.0.0.1:${policy.origin.dns}`,
    ];
    return {
      command: [program(), ...options],
      environment: threads === 1 ? { GOMAXPROCS: '1' } : {},
      files: { 'config.yaml': 'allow_missing_role: true\n', 'acl.yaml': accessList(policy.allowedNames) },
      tunnel: () => ({ protocol: 'connect', port: ports[0]! }),
      http: { protocol: 'connect', port: ports[0]! },
    };
  },
};
