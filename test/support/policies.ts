// Policies and users as tests write them: short here, whole objects of the policy language on disk.
// It validates nothing; the gateway under test does.

import { hash } from '@node-rs/bcrypt';

interface RuleSpec {
  name: string;
  action: 'Allow' | 'Deny' | 'Pass';
  to?: object[];
  ports?: (number | { port: number; endPort: number })[];
  resolvesTo?: string[];
  [more: string]: unknown;
}

export interface PolicySpec {
  name: string;
  rules: RuleSpec[];
  tier?: 'Admin' | 'Baseline';
  priority?: number;
  mode?: 'Enforce' | 'Audit';
  clients?: { cidrs?: string[]; users?: string[] };
}

/** A `ClusterEgressPolicy`; without `clients` it is for every client. */
export function clusterPolicy(spec: PolicySpec): object {
  const { name, rules, tier = 'Admin', priority = 100, mode = 'Enforce', clients } = spec;
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ClusterEgressPolicy',
    metadata: { name },
    spec: { tier, priority, mode, subject: { clients: clients ?? { cidrs: ['0.0.0.0/0', '::/0'] } }, rules },
  };
}

/** Loopback origins by address and `*.test` names that resolve to loopback, for every client. */
export const allowLoopback = clusterPolicy({
  name: 'allow-loopback',
  priority: 900,
  rules: [
    {
      name: 'test-names',
      action: 'Allow',
      to: [{ host: '*.test' }],
      resolvesTo: ['127.0.0.0/8', '::1/128'],
    },
    { name: 'loopback-addresses', action: 'Allow', to: [{ cidr: '127.0.0.0/8' }, { cidr: '::1/128' }] },
  ],
});

/** The text of an htpasswd file; the cheapest bcrypt, since tests need no strength. */
export async function htpasswd(users: Record<string, string>): Promise<string> {
  const lines = Object.entries(users).map(
    async ([user, password]) => `${user}:${await hash(password, { cost: 4 })}\n`,
  );
  return (await Promise.all(lines)).join('');
}
