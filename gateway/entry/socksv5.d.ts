// The part of the socksv5 package that is used: its server's parser.

declare module 'socksv5/lib/server.parser.js' {
  import type { EventEmitter } from 'node:events';

  export default class SocksParser extends EventEmitter {
    constructor(stream: EventEmitter);
    /** True once a method was chosen: the next message is the request. */
    authed: boolean;
    start(): void;
  }
}
