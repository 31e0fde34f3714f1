// Real TLS origins with certificates of the test authority.
// A tunnel's content is theirs alone; the gateway under test never has their keys.

import type http from 'node:http';
import https from 'node:https';
import type { Leaf } from './certificates.ts';
import { listen, type Origin } from './tcp-origins.ts';

/** Serves HTTPS; without a handler it answers `hello over TLS` to everything. */
export function httpsOrigin(leaf: Leaf, handler?: http.RequestListener, address?: string): Promise<Origin> {
  const hello: http.RequestListener = (_, response) => response.end('hello over TLS\n');
  return listen(https.createServer({ ...leaf }, handler ?? hello), address);
}
