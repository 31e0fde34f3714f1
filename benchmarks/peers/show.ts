// How each peer is started and configured, as text for who doubts that it is fair. It starts nothing.

import type { Peer, Threads } from './peer.ts';

/** Stand-ins for what a run chooses: the folder and the ports. */
const folder = '/tmp/bench';
const ports = [8001, 8002, 8003, 8004, 8005, 8006];
const origin = { exchange: 9001, echo: 9002, source: 9003, http: 9004, dns: 9005 };

/** Enough names to see how they are written. */
const shownNames = 2;

const indented = (text: string) =>
  text
    .trim()
    .split('\n')
    .map(line => `    ${line}`)
    .join('\n');

function show(peer: Peer, threads: Threads, allowedNames: readonly string[]): string {
  const policy = { allowedNames, address: '127.0.0.1', origin };
  const setup = peer.setup({ policy, threads, folder, ports });
  const title = `${peer.name}, ${threads === 1 && peer.oneThread ? 'one thread' : 'all cores'}`;
  if (setup === null) return `== ${title}: nothing is started\n`;
  const environment = Object.entries(setup.environment ?? {}).map(([name, value]) => `${name}=${value} `);
  const files = Object.entries(setup.files).filter(([, text]) => text !== '');
  return [
    `== ${title}${peer.note === undefined ? '' : ` (${peer.note})`}`,
    `$ ${environment.join('')}${setup.command.join(' ')}`,
    ...files.map(([name, text]) => `  ${folder}/${name}\n${indented(text)}`),
    '',
  ].join('\n');
}

export const showConfiguration = (peers: readonly Peer[], allowedNames: readonly string[]): string =>
  [
    `The first ${shownNames} of ${allowedNames.length} allowed names are shown; a run has them all.\n`,
    ...peers.map(peer => show(peer, 1, allowedNames.slice(0, shownNames))),
  ].join('\n');
