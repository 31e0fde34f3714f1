// Completes package-lock.json: npm leaves out packages for other systems that its registry could not give it, and
// `npm ci` then calls the lock file out of date on every machine. An entry that names the system is enough: it is
// skipped where the system is another. Run after `npm install`: `npm run lock`. It adds entries and changes none.

import { readFileSync, writeFileSync } from 'node:fs';

const file = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(file, 'utf8'));

const systems = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
];
const processors = [
  'arm64',
  'arm',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'x64',
  'wasm32',
];

/** What a package's name says of the machine it is for: `@scope/thing-linux-arm64-musl`. */
function machineOf(name) {
  const words = name.split(/[-/]/);
  const pick = (known, from) =>
    known.find(each => from.some(word => word === each || (each === 'arm' && /^arm/.test(word))));
  const os = pick(systems, words);
  const cpu = pick(processors, words);
  const libc = words.some(word => word.startsWith('musl')) ? 'musl' : os === 'linux' ? 'glibc' : undefined;
  return {
    ...(os && { os: [os] }),
    ...(cpu && { cpu: [cpu] }),
    ...(os === 'linux' && libc && { libc: [libc] }),
  };
}

const added = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const places = [`${path}/node_modules/${name}`, `node_modules/${name}`];
    if (places.some(place => place in lock.packages) || !/^\d/.test(version)) continue;
    const machine = machineOf(name);
    if (!machine.os && !machine.cpu) throw new Error(`${name}: no system in its name; add its entry by hand`);
    lock.packages[`node_modules/${name}`] = {
      version,
      ...machine,
      ...(entry.dev && { dev: true }),
      optional: true,
    };
    added.push(`${name}@${version}`);
  }
}

const { '': root, ...rest } = lock.packages;
lock.packages = {
  '': root,
  ...Object.fromEntries(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1))),
};
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(added.length === 0 ? 'the lock file is complete' : `added ${added.length}: ${added.join(', ')}`);
