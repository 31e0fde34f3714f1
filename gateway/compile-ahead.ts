// Starts the gateway once and stops it, so that what Node compiled for a start is in its compile cache, and the first
// start is as fast as those after it. npm runs it after an install. It listens on loopback, on ports that the host
// chooses, for as long as the start takes, and a policy allows nothing. A start that fails is no error here.

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The message after which nothing more is loaded; without an event loop of our own there is no second thread. */
const lastOfStart = 'data-plane threads serve, too';
/** From `ready` to that. */
const longestJoinMs = 3_000;
/** A start takes a second where everything has to be compiled. */
const longestMs = 20_000;

/** Two threads, since a second one has a cache of its own; a policy, so that reading one is compiled. */
const configuration = `apiVersion: sallyport.dev/v1alpha1
kind: GatewayConfig
listeners: [{name: proxy, address: 127.0.0.1, port: 0}]
admin: {address: 127.0.0.1, port: 0}
policies: {files: [policy.yaml]}
threads: 2
`;
const policy = `apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: nothing}
spec:
  rules:
  - name: nothing
    action: Deny
    to: [{host: example.com}, {host: "*.example.org"}, {cidr: 203.0.113.0/24}]
    ports: [443]
`;

/** By the launcher: what was compiled under other flags is not taken. */
const launcher = fileURLToPath(new URL('./cli/sallyport', import.meta.url));

async function startAndStop(folder: string): Promise<void> {
  await writeFile(join(folder, 'gateway.yaml'), configuration);
  await writeFile(join(folder, 'policy.yaml'), policy);
  const gateway = spawn(launcher, ['serve', '--config', join(folder, 'gateway.yaml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: longestMs,
  });
  const stop = () => gateway.kill('SIGTERM');
  for await (const line of createInterface({ input: gateway.stderr })) {
    if (line.includes('"ready"')) setTimeout(stop, longestJoinMs).unref();
    if (line.includes(lastOfStart)) stop();
  }
}

// Only where this file is the program: whatever loads every file would start gateways.
if (import.meta.main) {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-compile-'));
  try {
    await startAndStop(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
