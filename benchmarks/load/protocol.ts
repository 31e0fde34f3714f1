// What the parent and the two processes of the load say to each other, in lines of JSON over standard input and output.
// The Node programs here and the Go program beside them speak it alike. Types only.

/** How a connection asks for its tunnel; `none` has nobody to ask: the port leads straight to the origin's. */
export type Protocol = 'none' | 'connect' | 'socks5';

export interface Target {
  protocol: Protocol;
  /** Port of 127.0.0.1 to connect to. */
  port: number;
  /** The name that is asked for. */
  name: string;
  originPort: number;
}

export type LoadName = 'tunnels' | 'requests' | 'bulk' | 'roundTrips' | 'openIdle' | 'closeIdle';

export interface LoadRequest {
  load: LoadName;
  target: Target;
  /** Tunnels, requests, bytes or round trips, by load. */
  size: number;
  /** Connections at once. */
  connections: number;
  /** Bytes of one answer (tunnels) or of one message (roundTrips); 0 is the load's own choice. */
  bytes: number;
}

/** Seconds of the work, and figures that only the client can see. */
export interface LoadResult {
  seconds: number;
  p50Us?: number;
  p99Us?: number;
}

export interface OriginPorts {
  /** Answers every 1,024 bytes with 1,024 bytes. */
  exchange: number;
  /** Echoes what it gets as it comes. */
  echo: number;
  /** Takes a decimal number of bytes and a line feed, and sends that many. */
  source: number;
  /** HTTP/1.1, keep-alive, 1,024 bytes for every request without a body. */
  http: number;
  dns: number;
}
