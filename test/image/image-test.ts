// The container image as it is run: what it answers, what it may, how it ends, what is in it and what is not. The
// gateway's own behaviour is tested elsewhere; here it only has to be whole. .ci/image builds the image and calls this.

import { execFile } from 'node:child_process';
import { globSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import { basic, connect } from '../support/http-client.ts';
import { httpOrigin } from '../support/http-origins.ts';
import { during, fileLifetime } from '../support/lifetime.ts';
import { clusterPolicy, htpasswd } from '../support/policies.ts';
import { connectRaw } from '../support/raw-client.ts';
import { echoOrigin } from '../support/tcp-origins.ts';
import { eventually, within } from '../support/waiting.ts';
import {
  configurationFolder,
  image,
  podman,
  runContainer,
  startContainer,
  startServing,
} from './container.ts';

const run = promisify(execFile);
const root = path.join(import.meta.dirname, '../..');
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
const nobody = 65_532;

const configuration = stringify({
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'GatewayConfig',
  listeners: [{ name: 'proxy', address: '127.0.0.1', port: 0, protocols: ['http', 'socks5'] }],
  admin: { address: '127.0.0.1', port: 0 },
  policies: { files: ['policy.yaml'] },
  users: { file: 'users.htpasswd' },
  egress: { sourceAddresses: ['127.0.0.1'] },
  log: { output: 'stdout', messages: 'json' },
});

const policy = (cidr: string) =>
  stringify(
    clusterPolicy({
      name: 'members',
      clients: { users: ['alice'] },
      rules: [{ name: 'loopback', action: 'Allow', to: [{ cidr }] }],
    }),
  );

const folder = async () =>
  configurationFolder({
    'gateway.yaml': configuration,
    'policy.yaml': policy('127.0.0.0/8'),
    'users.htpasswd': await htpasswd({ alice: 'sesame' }),
  });

async function serve(t: ExecutionContext) {
  const files = during(t, await folder());
  return { files, gateway: during(t, await startServing(files)) };
}

const alice = basic('alice', 'sesame');

/** The image's files, by their path in it. */
interface Entry {
  file: string;
  mode: number;
  owner: string;
  isFolder: boolean;
  isLink: boolean;
}

function walk(top: string, at = '/'): Entry[] {
  return readdirSync(path.join(top, at)).flatMap(name => {
    const file = path.join(at, name);
    const stat = lstatSync(path.join(top, file));
    const entry = {
      file,
      mode: stat.mode & 0o7777,
      owner: `${stat.uid}:${stat.gid}`,
      isFolder: stat.isDirectory(),
      isLink: stat.isSymbolicLink(),
    };
    return stat.isDirectory() ? [entry, ...walk(top, file)] : [entry];
  });
}

const scope = fileLifetime(test);
let mounted = '';
test.before('look into the image', async () => {
  mounted = (await podman('image', 'mount', image)).stdout.trim();
  scope.own({
    async close() {
      await podman('image', 'umount', image);
    },
  });
});

test('it is the command, and tells the version that package.json and the label tell', async t => {
  const { code, stdout } = await runContainer({ args: ['--version'] });
  t.is(stdout, `sallyport ${manifest.version}\n`);
  t.is(code, 0);
  // By name, as the chart calls it; and as any user, as some clusters want it.
  t.is((await runContainer({ entrypoint: 'sallyport', args: ['--version'] })).stdout, stdout);
  t.is((await runContainer({ user: '1000650000:0', args: ['--version'] })).stdout, stdout);
  const { stdout: inspected } = await podman('image', 'inspect', image);
  const [{ Config: config, Labels: labels }] = JSON.parse(inspected);
  t.is(labels['org.opencontainers.image.version'], manifest.version);
  t.is(labels['org.opencontainers.image.licenses'], 'Apache-2.0');
  t.is(config.User, `${nobody}:${nobody}`);
  t.is(config.StopSignal, 'SIGTERM');
  t.deepEqual(Object.keys(config.ExposedPorts).sort(), ['1080/tcp', '3128/tcp', '9128/tcp']);
});

test('check says yes, no, and what is missing, by its exit code', async t => {
  const files = during(t, await folder());
  const mount = { from: files.folder, to: '/etc/sallyport' };
  t.is((await runContainer({ args: ['check', '/etc/sallyport/gateway.yaml'], mount })).code, 0);
  await files.write('policy.yaml', policy('127.0.0.1/8'));
  const refused = await runContainer({ args: ['check', '/etc/sallyport/gateway.yaml'], mount });
  t.is(refused.code, 1);
  t.regex(refused.stdout + refused.stderr, /policy\.yaml:\d+:\d+: .*127\.0\.0\.0\/8/);
  const bare = await runContainer({});
  t.is(bare.code, 1, 'without a configuration it serves nobody');
  t.regex(bare.stderr, /\/etc\/sallyport\/gateway\.yaml/);
});

test('every module that ships can be loaded, and every package: nothing they need was left out', async t => {
  const script = `
    import { globSync, readFileSync } from 'node:fs';
    const starts = /\\/(main|[a-z-]+-worker)\\.js$/;
    const files = globSync('/opt/sallyport/{config,gateway,k8s}/**/*.js').filter(file => !starts.test(file));
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
    for (const each of [...files, ...Object.keys(dependencies)]) await import(each);
    console.log(files.length);`;
  const { code, stdout, stderr } = await runContainer({
    entrypoint: '/usr/bin/node',
    folder: '/opt/sallyport',
    args: ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', script],
  });
  t.is(stderr, '');
  t.is(code, 0);
  t.true(Number(stdout) > 100, stdout);
});

test('it serves curl by CONNECT, plain HTTP and SOCKS5, reloads, and records', async t => {
  const { files, gateway } = await serve(t);
  const origin = during(t, await httpOrigin());
  const ready = await fetch(`http://127.0.0.1:${gateway.admin}/readyz`);
  t.is(ready.status, 200);
  const status = async (...args: string[]) => {
    const url = `http://${origin.authority}/hello`;
    const fixed = ['--silent', '--output', '/dev/null', '--write-out', '%{http_code} %{http_connect}'];
    const { stdout } = await run('curl', [...fixed, ...args, url]).catch(
      error => error as { stdout: string },
    );
    return stdout;
  };
  const proxy = `http://127.0.0.1:${gateway.proxy}`;
  const asAlice = ['--proxy-user', 'alice:sesame'];
  t.is(await status('--proxytunnel', '--proxy', proxy, ...asAlice), '200 200');
  t.is(await status('--proxy', proxy, ...asAlice), '200 000');
  t.is(await status('--socks5-hostname', `127.0.0.1:${gateway.proxy}`, ...asAlice), '200 000');
  t.is(await status('--proxytunnel', '--proxy', proxy, '--proxy-user', 'alice:wrong'), '000 407');
  await files.write('policy.yaml', policy('127.0.0.9/32'));
  await gateway.messages.waitFor(({ msg }) => msg === 'configuration swapped');
  t.is(await status('--proxytunnel', '--proxy', proxy, ...asAlice), '000 403');
  await eventually(() => gateway.records.lines().length >= 5 || undefined, 'five records');
  t.deepEqual(
    gateway.records
      .lines()
      .map(({ protocol, decision, source }) => [protocol, decision?.verdict, source.address]),
    [
      ['connect', 'allow', '127.0.0.1'],
      ['http', 'allow', '127.0.0.1'],
      ['socks5', 'allow', '127.0.0.1'],
      // A wrong password is refused before anything is decided.
      ['connect', undefined, null],
      ['connect', 'deny', null],
    ],
  );
  t.false(gateway.messages.text().includes('no FFI'), 'the C library can be called from the image');
});

test('as a process it may nothing and holds nothing: user, capabilities, files, children', async t => {
  const { gateway } = await serve(t);
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  await connect(client, origin.authority, alice);
  const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8');
  const fact = (name: string) => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1];
  t.is(fact('Uid'), Array(4).fill(nobody).join('\t'));
  t.is(fact('Gid'), Array(4).fill(nobody).join('\t'));
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    t.is(BigInt(`0x${fact(set)}`), 0n, set);
  t.is(fact('NoNewPrivs'), '1');
  t.is(fact('NSpid')?.split('\t').at(-1), '1', 'it is the first process');

  // Another command beside it leaves nothing behind.
  const beside = await podman('exec', gateway.name, 'sallyport', '--version');
  t.is(beside.stdout, `sallyport ${manifest.version}\n`);
  t.is(readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8'), '');

  const opened = readdirSync(`/proc/${gateway.pid}/fd`).map(fd => ({
    to: readlinkSync(`/proc/${gateway.pid}/fd/${fd}`),
    flags: Number.parseInt(
      /flags:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/fdinfo/${fd}`, 'utf8'))![1]!,
      8,
    ),
  }));
  const writable = opened.filter(({ to, flags }) => to.startsWith('/') && (flags & 3) !== 0);
  t.deepEqual(
    writable.filter(({ to }) => to !== '/dev/null'),
    [],
  );
});

test('told to stop, it drains: an open tunnel goes on to its end, and the exit code is 0', async t => {
  const { gateway } = await serve(t);
  const origin = during(t, await echoOrigin());
  const client = await connectRaw(t, { port: gateway.proxy });
  t.is((await connect(client, origin.authority, alice)).status, 200);
  const stopped = podman('stop', '--time=30', gateway.name);
  await gateway.messages.waitFor(({ msg, signal }) => msg === 'draining' && signal === 'SIGTERM');
  t.is((await client.send('still').read(5)).toString(), 'still');
  await client.end().readAll();
  t.is(await within(gateway.exited, 'the container to end', gateway.messages.text), 0);
  await stopped;
  t.deepEqual(
    gateway.records.lines().map(({ close, bytes }) => [close.reason, bytes.up, bytes.down]),
    [['complete', 5, 5]],
  );
});

test('a command that handles no signal ends by it, though it is the first process', async t => {
  const container = during(t, await startContainer({ args: ['logs', '-'], interactive: true }));
  // It has read something, so it runs and waits for more.
  container.process.stdin!.write('{"event":"session"}\n'.repeat(2_000));
  await eventually(() => container.records.text() !== '' || undefined, 'a first line');
  await podman('kill', '--signal=TERM', container.name);
  t.is(await within(container.exited, 'the container to end'), 128 + 15);
});

test('the image holds the application, Node and its libraries, owned by root, and no shell', t => {
  const entries = walk(mounted);
  const files = new Set(entries.map(({ file }) => file));
  t.deepEqual(
    [...files].filter(file => /^\/usr\/bin\/./.test(file)),
    ['/usr/bin/node', '/usr/bin/sallyport'],
  );
  t.deepEqual(readdirSync(path.join(mounted, 'opt/sallyport')).sort(), [
    'LICENSE',
    'config',
    'gateway',
    'k8s',
    'node_modules',
    'package.json',
  ]);
  const leftovers =
    /\/(sh|bash|busybox|apt|apt-get|npm)$|\.npmrc|\.git\/|^\/(root|opt\/sallyport\/(test|benchmarks|\.ci))/;
  t.deepEqual(
    [...files].filter(file => leftovers.test(file)),
    [],
  );
  t.deepEqual(
    entries.filter(({ owner }) => owner !== '0:0'),
    [],
  );
  t.deepEqual(
    entries.filter(({ mode }) => (mode & 0o6000) !== 0),
    [],
    'nothing lends its owner’s rights',
  );
  t.deepEqual(
    entries.filter(({ mode, isLink }) => !isLink && (mode & 0o022) !== 0).map(({ file }) => file),
    ['/tmp'],
  );
});

test('types were stripped, and lines stayed where they were', t => {
  t.deepEqual(globSync('{config,gateway,k8s}/**/*.ts', { cwd: path.join(mounted, 'opt/sallyport') }), []);
  for (const file of ['gateway/main.ts', 'gateway/os/system-calls.ts', 'config/load.ts']) {
    const name = file.replace(/\.ts$/, '.js');
    const stripped = readFileSync(path.join(mounted, 'opt/sallyport', name), 'utf8');
    const source = readFileSync(path.join(root, file), 'utf8');
    t.is(stripped.split('\n').length, source.split('\n').length, file);
    t.false(/^(export )?(interface|type) /m.test(stripped), file);
  }
});

interface Component {
  name: string;
  version: string;
  purl: string;
  hashes?: { content: string }[];
}

/** The packages in a folder of packages, and in theirs, as package URLs. */
function installed(folder: string): string[] {
  return globSync('**/node_modules/{*,@*/*}/package.json', { cwd: folder }).map(file => {
    const { name, version } = JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
    return `pkg:npm/${name.replace('@', '%40')}@${version}`;
  });
}

test('the bill of materials names every package, as npm and Debian know them', async t => {
  const bill = JSON.parse(readFileSync(path.join(mounted, 'usr/share/sbom/sallyport.cdx.json'), 'utf8')) as {
    components: Component[];
  };
  const packages = bill.components.filter(({ purl }) => purl.startsWith('pkg:npm/'));
  const named = new Set(packages.map(({ purl }) => purl));
  t.true(named.size > 50, `${named.size}`);
  const inside = new Set(installed(path.join(mounted, 'opt/sallyport')));
  // The only package whose folder is not there: its program is /usr/bin/node.
  t.deepEqual(
    [...named].filter(purl => !inside.has(purl)),
    [`pkg:npm/node-linux-${process.arch}@${process.versions.node}`],
  );
  t.deepEqual(
    [...inside].filter(purl => !named.has(purl)),
    [],
  );
  t.deepEqual(
    packages.filter(({ hashes }) => hashes?.[0]?.content.length !== 128),
    [],
  );
  const { stdout } = await run('npm', ['sbom', '--omit=dev', '--sbom-format=cyclonedx'], {
    cwd: root,
    maxBuffer: 1e8,
  });
  const byNpm = (JSON.parse(stdout) as { components: Component[] }).components;
  t.deepEqual(
    byNpm.filter(({ purl }) => !named.has(purl)),
    [],
  );

  const debian = bill.components.filter(({ purl }) => purl.startsWith('pkg:deb/'));
  t.deepEqual(
    debian.map(({ name }) => name),
    readdirSync(path.join(mounted, 'var/lib/dpkg/status.d')).sort(),
  );
  t.true(
    debian.every(
      ({ name }) => readFileSync(path.join(mounted, `usr/share/doc/${name}/copyright`)).length > 0,
    ),
  );
  t.is(bill.components.find(({ name }) => name === 'node')?.version, process.versions.node);
});

test('a package that package-lock.json has no hash of ends the build', async t => {
  const application = await mkdtemp(path.join(tmpdir(), 'sallyport-sbom-'));
  t.teardown(() => rm(application, { recursive: true }));
  const write = async (name: string, value: unknown) => {
    await mkdir(path.dirname(path.join(application, name)), { recursive: true });
    await writeFile(path.join(application, name), typeof value === 'string' ? value : JSON.stringify(value));
  };
  const lock = (...integrity: string[]) =>
    write('package-lock.json', { packages: { 'node_modules/some': { integrity: integrity[0] } } });
  await write('package.json', { name: 'application', version: '1.0.0', license: 'MIT' });
  await write('node_modules/some/package.json', { name: 'some', version: '2.0.0' });
  await write('etc/os-release', 'ID=debian\nVERSION_ID="12"\n');
  await write('debian', 'libc6 1:2.36+b1 amd64\n');
  const bill = () =>
    run(process.execPath, [
      path.join(root, 'k8s/image/sbom.ts'),
      application,
      application,
      path.join(application, 'debian'),
    ]);
  for (const integrity of [[], ['sha1-qUqP5cyxm6YcTAhz05Hph5gvu9M=']]) {
    await lock(...integrity);
    await t.throwsAsync(bill(), { message: /node_modules\/some: package-lock\.json has no sha512/ });
  }
  await lock(`sha512-${Buffer.alloc(64, 7).toString('base64')}`);
  const { components } = JSON.parse((await bill()).stdout) as { components: Component[] };
  t.like(
    components.find(({ name }) => name === 'some'),
    { hashes: [{ content: '07'.repeat(64) }] },
  );
  t.is(
    components.find(({ name }) => name === 'libc6')?.purl,
    'pkg:deb/debian/libc6@1%3A2.36%2Bb1?arch=amd64&distro=debian-12',
  );
});

const sources = (...uris: string[]) => `Types: deb\n${uris.join('\n')}\nSuites: bookworm\nComponents: main\n`;

test('Debian’s packages can be those of the snapshot that the builder’s image names', async t => {
  const apt = await mkdtemp(path.join(tmpdir(), 'sallyport-apt-'));
  t.teardown(() => rm(apt, { recursive: true }));
  for (const name of ['sources.list.d', 'apt.conf.d']) await mkdir(path.join(apt, name));
  const file = path.join(apt, 'sources.list.d/debian.sources');
  const pin = () => run('sh', [path.join(root, 'k8s/image/use-snapshot.sh'), apt]);
  const then = 'http://snapshot.example.org/archive/debian/20260101T000000Z';
  const now = 'URIs: http://debian.example.org/debian';
  await writeFile(file, `${sources(`# ${then}`, now)}\n${sources(`# ${then}`, now)}`);
  await pin();
  t.is(readFileSync(file, 'utf8'), `${sources(`URIs: ${then}`)}\n${sources(`URIs: ${then}`)}`);
  t.is(readFileSync(path.join(apt, 'apt.conf.d/snapshot'), 'utf8'), 'Acquire::Check-Valid-Until "false";\n');
  await writeFile(file, sources(now));
  await t.throwsAsync(pin(), { message: /names no snapshot/ });
});

interface Start {
  ms: number;
  rssMiB: number;
  code: number;
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!;

// Alone, so that no other test takes its processor.
test.serial('start and memory, beside the checkout (no bounds: they are for reading)', async t => {
  const files = during(t, await folder());
  const script = path.join(import.meta.dirname, 'start-once.mjs');
  await files.write('start-once.mjs', readFileSync(script, 'utf8'));
  const starts: Record<'image' | 'checkout', Start[]> = { image: [], checkout: [] };
  for (let round = 0; round < 5; round += 1) {
    const inside = await runContainer({
      entrypoint: '/usr/bin/node',
      args: ['/etc/sallyport/start-once.mjs', '/etc/sallyport/gateway.yaml', '/usr/bin/sallyport'],
      mount: { from: files.folder, to: '/etc/sallyport' },
    });
    starts.image.push(JSON.parse(inside.stdout));
    const command = path.join(root, 'gateway/cli/sallyport');
    const outside = await run(process.execPath, [script, path.join(files.folder, 'gateway.yaml'), command]);
    starts.checkout.push(JSON.parse(outside.stdout));
  }
  for (const [where, each] of Object.entries(starts)) {
    t.true(
      each.every(({ code }) => code === 0),
      where,
    );
    const ms = median(each.map(start => start.ms)).toFixed(0);
    const rss = median(each.map(start => start.rssMiB)).toFixed(0);
    t.log(`${where}: ${ms} ms from start to ready, ${rss} MiB resident (medians of ${each.length})`);
  }
});
