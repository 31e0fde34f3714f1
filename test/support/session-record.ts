// The documented shape of a line of the decision log, as tests read it.
// Written down here a second time on purpose: a change of the log's shape must fail a test.

export interface SessionRecord {
  time: string;
  event: 'session' | 'progress';
  id: string;
  protocol: string;
  client: { address: string; port: number; user?: string; [identity: string]: unknown };
  destination: { host?: string; port?: number; resolved?: string[]; address?: string } | null;
  decision: {
    verdict: 'allow' | 'deny';
    tier: string;
    policy: string | null;
    rule: string | null;
    reason: string;
    generation: number;
    wouldDeny?: { policy: string | null; rule: string | null; reason: string };
  } | null;
  source?: { address: string; port: number } | null;
  http?: { method?: string; path?: string; status?: number };
  socks?: { reply?: number };
  stage: string;
  close: { reason: string };
  bytes: { up: number; down: number };
  ms: { resolve?: number; connect?: number; firstByte?: number; total: number };
  gateway: { name: string; version: string };
}
