// The image's bill of materials as CycloneDX 1.6: the npm packages with the hashes they were checked against, the
// Debian packages whose files were copied, Node and what Node itself is built from. The same input always gives the
// same text: there is no time and no serial number in it. It finds nothing out about vulnerabilities.
//
//   node sbom.ts APPLICATION IMAGE DEBIAN
//
// APPLICATION holds package.json and package-lock.json, IMAGE the finished image's files, DEBIAN a line for each Debian
// package: name, version, architecture.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Component {
  readonly type: 'application' | 'library' | 'platform';
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly cpe?: string;
  readonly licenses?: readonly { readonly expression: string }[];
  readonly hashes?: readonly { readonly alg: 'SHA-512'; readonly content: string }[];
}

interface LockedPackage {
  readonly integrity?: string;
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: unknown;
}

const [application, image, debian] = process.argv.slice(2) as [string, string, string];
const read = (file: string) => readFileSync(file, 'utf8');
const manifest = (folder: string) => JSON.parse(read(join(folder, 'package.json'))) as Manifest;

/** Package URL of an npm package; the scope's `@` is escaped. */
const npmUrl = (name: string, version: string) => `pkg:npm/${name.replace('@', '%40')}@${version}`;

/** The hash in an npm `integrity` field, in hex; an older, weaker one does not count. */
function sha512(integrity: string | undefined, path: string): string {
  const base64 = /(?:^|\s)sha512-([A-Za-z0-9+/]+=*)/.exec(integrity ?? '')?.[1];
  if (!base64)
    throw new Error(`${path}: package-lock.json has no sha512 for it, so nothing checked what was installed`);
  return Buffer.from(base64, 'base64').toString('hex');
}

/** The packages of the lock file that were installed; each must have been checked against a hash. */
function npmPackages(): Component[] {
  const lock = JSON.parse(read(join(application, 'package-lock.json'))) as {
    packages: Record<string, LockedPackage>;
  };
  return Object.entries(lock.packages)
    .filter(([path]) => path !== '' && existsSync(join(application, path, 'package.json')))
    .map(([path, { integrity }]) => {
      const { name, version, license } = manifest(join(application, path));
      return {
        type: 'library',
        name,
        version,
        purl: npmUrl(name, version),
        ...(typeof license === 'string' && { licenses: [{ expression: license }] }),
        hashes: [{ alg: 'SHA-512', content: sha512(integrity, path) }],
      };
    });
}

/** The distribution as package URLs name it: `debian-12`. */
function distribution(): string {
  const facts = read(join(image, 'etc/os-release'));
  const value = (key: string) => new RegExp(`^${key}="?([^"\n]+)"?$`, 'm').exec(facts)?.[1];
  return `${value('ID')}-${value('VERSION_ID')}`;
}

function debianPackages(): Component[] {
  const distro = distribution();
  return read(debian)
    .trim()
    .split('\n')
    .map(line => {
      const [name, version, architecture] = line.split(' ') as [string, string, string];
      const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=${distro}`;
      return { type: 'library', name, version, purl };
    });
}

/** Node and what is linked into it, under the names that advisories use. This very Node is the one in the image. */
function nodeParts(): Component[] {
  // The first two are numbers of interfaces.
  const { modules: _modules, napi: _napi, node, ...parts } = process.versions;
  return [
    {
      type: 'platform',
      name: 'node',
      version: node,
      purl: `pkg:generic/node@${node}`,
      cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:*:*:*:*`,
    },
    // What was left out of this build has no version.
    ...Object.entries(parts).flatMap(([name, version]): Component[] =>
      version
        ? [
            {
              type: 'library',
              name: `node/${name}`,
              version,
              purl: `pkg:generic/${name}@${encodeURIComponent(version)}`,
            },
          ]
        : [],
    ),
  ];
}

const byUrl = (a: Component, b: Component) => (a.purl < b.purl ? -1 : Number(a.purl > b.purl));
const unique = (components: readonly Component[]) => [
  ...new Map(components.map(each => [each.purl, each])).values(),
];

const { name, version, license } = manifest(application);
const bill = {
  bomFormat: 'CycloneDX',
  specVersion: '1.6',
  version: 1,
  metadata: {
    component: {
      type: 'application',
      name,
      version,
      purl: npmUrl(name, version),
      licenses: [{ expression: license }],
    },
  },
  components: unique([...npmPackages(), ...debianPackages(), ...nodeParts()]).sort(byUrl),
};
process.stdout.write(`${JSON.stringify(bill, null, 1)}\n`);
