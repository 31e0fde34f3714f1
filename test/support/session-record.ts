// The documented shape of a line of the decision log, as tests read it.
// Written down here a second time on purpose: a change of the log's shape must fail a test.

export interface SessionRecord {
  time: string;
  event: 'session' | 'progress';
  id: string;
  listener: string;
  protocol: 'connect' | 'http' | 'upgrade' | 'socks5' | 'unknown';
  client: {
    address: string;
    port: number;
    identity: { source: 'token' | 'user' | 'pod' | 'workload' | 'cidr' | 'none'; name: string | null };
    workload?: { namespace: string; pod: string; serviceAccount: string; owner: string | null; uid?: string };
  };
  destination: {
    host: string | null;
    port: number | null;
    asked?: string;
    resolved: string[];
    forbidden: string[];
    address: string | null;
  };
  decision?: {
    verdict: 'allow' | 'deny';
    tier: string;
    policy: string | null;
    rule: string | null;
    reason: string;
    generation: number;
    origin: string | null;
    wouldDeny?: { tier: string; policy: string | null; rule: string | null; reason: string };
  };
  source: { address: string | null; port: number | null; pool?: string };
  http?: { method: string; path?: string; status?: number };
  socks?: { reply: number };
  tls?: { hello: 'tls' | 'other' | 'unreadable'; sni: string | null; ech: boolean; serverFirst: boolean };
  stage: 'accept' | 'parse' | 'identify' | 'decide' | 'resolve' | 'dial' | 'reply' | 'relay';
  close: { reason: string; detail?: string };
  bytes: { up: number; down: number };
  ms: { resolve: number | null; connect: number | null; firstByte: number | null; total: number };
  gateway: { name: string; version: string };
}
