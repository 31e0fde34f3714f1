// Loaded into a process before its program (`--import`): connections to some hosts and addresses go elsewhere, by the
// table in SALLYPORT_TEST_WAYS, as `{"93.184.216.34:443": "127.0.0.1:34567"}`. It stands for the world outside and for
// the Services of a cluster; what the program knows and records is where it wanted to go.
// A gateway that connects by system calls of its own would go to the real addresses, which no test may: without node:ffi
// it has none, and takes Node's streams.

import { registerHooks } from 'node:module';
import { Socket } from 'node:net';

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (specifier === 'node:ffi') throw new Error('no system calls in a world that is played');
    return nextResolve(specifier, context);
  },
});

/** `host:port` to `address:port`. */
export type Ways = Readonly<Record<string, string>>;

const ways = new Map(Object.entries(JSON.parse(process.env.SALLYPORT_TEST_WAYS ?? '{}') as Ways));

interface Target {
  host?: string;
  port?: number;
}

/** `net.connect` hands over its arguments as one array; others call with options, or with port and host. */
function targetOf(given: unknown[]): Target | null {
  const [first] = Array.isArray(given[0]) ? given[0] : given;
  return typeof first === 'object' && first !== null ? (first as Target) : null;
}

const { connect } = Socket.prototype;

Socket.prototype.connect = function (this: Socket, ...given: unknown[]) {
  const target = targetOf(given);
  const way = target === null ? undefined : ways.get(`${target.host}:${target.port}`);
  if (way !== undefined) {
    const [host, port] = way.split(':');
    Object.assign(target!, { host, port: Number(port) });
  }
  return Reflect.apply(connect, this, given) as Socket;
} as typeof connect;
