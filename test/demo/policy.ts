// The demo's policies and users. The ports are those that the demo's origins were given.
// They show the language; what they allow exists on loopback only.

export interface DemoPorts {
  https: number;
  http: number;
  echo: number;
}

/** As `kubectl apply` would take it. `resolvesTo` names the private range that these names may resolve to. */
export const policyText = (ports: DemoPorts) => `\
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: billing}
spec:
  tier: Admin
  priority: 100
  subject: {clients: {cidrs: [127.1.0.0/16]}}
  rules:
  - name: payments
    action: Allow
    to: [{host: api.payments.example}, {host: "*.partner.example"}]
    ports: [${ports.https}]
    resolvesTo: [127.3.0.0/16]
  - name: ledger
    action: Allow
    to: [{host: ledger.example}]
    ports: [${ports.echo}]
    resolvesTo: [127.3.0.0/16]
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: web}
spec:
  tier: Admin
  priority: 200
  subject: {clients: {cidrs: [127.2.0.0/16]}}
  rules:
  - {name: no-payments, action: Deny, to: [{host: "*.payments.example"}]}
  - name: news
    action: Allow
    to: [{host: news.example}]
    ports: [{port: ${ports.http}, endPort: ${ports.http}}]
    resolvesTo: [127.3.0.0/16]
---
apiVersion: sallyport.dev/v1alpha1
kind: ClusterEgressPolicy
metadata: {name: operators}
spec:
  tier: Admin
  priority: 300
  subject: {clients: {users: [olga]}}
  rules:
  - {name: ledger, action: Allow, to: [{host: ledger.example}], ports: [${ports.echo}], resolvesTo: [127.3.0.0/16]}
`;

export const users = { olga: 'sesame' };
