// The command line of `npm run bench`: what is asked for, checked, or misuse with the help. It runs nothing.

import { parseArgs } from 'node:util';
import { type Growth, growths } from './measure/growth.ts';
import { type Scenario, scenarios } from './measure/scenarios.ts';
import { choosePeer, peerNames } from './peers/choose.ts';
import type { Peer } from './peers/peer.ts';

const help = `npm run bench -- [options]

  --all            a full run: long loads, five rounds, 8,000 idle tunnels too, and how cost grows
  --grow           only how cost grows: open sessions, allowed names, tunnels at once, bytes
  --peers LIST     of ${peerNames.join(', ')}
                   (default all; growth: sallyport, squid); ratios are of the first to the others
                   variants of this gateway: sallyport:streams, :pump, :kernel (relay.mode), sallyport:threads=2,
                   sallyport:socks, sallyport:congestion=NAME (towards clients), sallyport@FOLDER (another checkout), and combinations
  --loads LIST     of ${scenarios.map(each => each.name).join(', ')}
                   (default all; idle8000 with --all)
  --growths LIST   of ${growths.map(each => each.name).join(', ')} (default all)
  --rounds N       rounds, each with every load for every peer (default 3, --all 5)
  --seconds N      length of one load (default 0.6, --all 2)
  --congestion-control NAME
                   TCP's for everybody, in a network namespace of its own (reno, and what
                   net.ipv4.tcp_allowed_congestion_control has beside; default this host's)
  --client node    the load by Node although there is Go
  --output json    JSON instead of tables
  --plot FILE.svg  the main figures as bars, too
  --show-config    print how each peer is started and configured, and end
  --help

Logs on, no cache, the same 1,000 allowed names wherever a peer can be told names. It needs Linux; peers that are
missing are installed from Debian's packages (as root) or built with Go, and left out with the reason where neither works.
`;

export interface Options {
  peers: Peer[];
  scenarios: Scenario[];
  growths: Growth[];
  /** Peers of the growth: a few, since each takes minutes. */
  growthPeers: Peer[];
  rounds: number;
  seconds: number;
  /** Of a network namespace of its own; null for the host's network as it is. */
  congestionControl: string | null;
  client: 'auto' | 'node';
  json: boolean;
  plot: string | null;
  showConfig: boolean;
}

function misuse(message: string): never {
  process.stderr.write(`bench: ${message}\n\n${help}`);
  process.exit(2);
}

const split = (list: string) => list.split(',').filter(name => name !== '');

const peersOf = (list: string): Peer[] =>
  split(list).map(name => choosePeer(name) ?? misuse(`no peer ${name}`));

function pick<T extends { name: string }>(list: string, from: readonly T[], what: string): T[] {
  return split(list).map(name => from.find(each => each.name === name) ?? misuse(`no ${what} ${name}`));
}

function positive(text: string, option: string): number {
  const value = Number(text);
  return value > 0 ? value : misuse(`${option} wants a number above 0`);
}

function parse() {
  try {
    return parseArgs({
      options: {
        all: { type: 'boolean', default: false },
        grow: { type: 'boolean', default: false },
        peers: { type: 'string' },
        loads: { type: 'string' },
        growths: { type: 'string' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        'congestion-control': { type: 'string' },
        client: { type: 'string', default: 'auto' },
        output: { type: 'string', default: 'text' },
        plot: { type: 'string' },
        'show-config': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    return misuse((error as Error).message);
  }
}

export function readOptions(): Options {
  const values = parse();
  if (values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  if (!['text', 'json'].includes(values.output)) misuse('--output wants text or json');
  if (!['auto', 'node'].includes(values.client)) misuse('--client wants auto or node');
  const usual = scenarios.filter(each => values.all || !each.full);
  const allGrowths = values.all || values.grow || values.growths !== undefined ? [...growths] : [];
  return {
    peers: peersOf(values.peers ?? peerNames.join(',')),
    scenarios: values.loads ? pick(values.loads, scenarios, 'load') : values.grow ? [] : usual,
    growths: values.growths ? pick(values.growths, growths, 'growth') : allGrowths,
    growthPeers: peersOf(values.peers ?? 'sallyport,squid'),
    rounds: Math.ceil(positive(values.rounds ?? (values.all ? '5' : '3'), '--rounds')),
    seconds: positive(values.seconds ?? (values.all ? '2' : '0.6'), '--seconds'),
    congestionControl: values['congestion-control'] ?? null,
    client: values.client as 'auto' | 'node',
    json: values.output === 'json',
    plot: values.plot ?? null,
    showConfig: values['show-config'],
  };
}
