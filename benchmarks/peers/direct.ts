// No proxy: the client goes straight to the origin. The bound of what client, origin and machine can do.
// It adds nothing of its own, and its processor time is that of nobody.

import type { Peer } from './peer.ts';

export const direct: Peer = {
  name: 'no proxy',
  oneThread: true,
  names: false,
  install: async () => {},
  version: async () => '-',
  setup: () => null,
};
