// Cilium's endpoint selectors to subjects. Labels carry their source (`k8s:app`), and some stand for something else:
// the pod's namespace, the namespace's labels, the service account.

import { z } from 'zod';
import type { LabelExpression, LabelSelector, Subject } from './objects.ts';

export const selectorSchema = z.strictObject({
  matchLabels: z.record(z.string(), z.string().nullable()).nullish(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: z.string(),
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(z.string()).nullish(),
      }),
    )
    .nullish(),
});

export interface TranslatedSubject {
  readonly subject: Subject;
  /** Conditions that had to be dropped: without them the subject selects more. */
  readonly dropped: readonly string[];
}

const namespaceKey = 'io.kubernetes.pod.namespace';
const namespaceLabels = 'io.cilium.k8s.namespace.labels.';
const serviceAccountKey = 'io.cilium.k8s.policy.serviceaccount';
const nameLabel = 'kubernetes.io/metadata.name';

/** `namespace` is that of the policy; null for a cluster-wide one. */
export function translateSelector(
  selector: z.output<typeof selectorSchema>,
  namespace: string | null,
): TranslatedSubject {
  const pods: LabelExpression[] = [];
  const namespaces: LabelExpression[] = [];
  const dropped: string[] = [];
  let serviceAccounts: readonly string[] | null = null;
  for (const { key, ...expression } of expressionsOf(selector)) {
    const plain = plainKey(key);
    const isIn = expression.operator === 'In';
    if (plain === null) dropped.push(key);
    else if (plain === serviceAccountKey && isIn && serviceAccounts === null)
      serviceAccounts = expression.values ?? [];
    else if (plain === namespaceKey && namespace === null) namespaces.push({ key: nameLabel, ...expression });
    else if (plain === namespaceKey && isIn && expression.values?.includes(namespace!)) continue;
    else if (plain.startsWith(namespaceLabels))
      namespaces.push({ key: plain.slice(namespaceLabels.length), ...expression });
    else if (/^io\.(cilium|kubernetes)\./.test(plain)) dropped.push(key);
    else pods.push({ key: plain, ...expression });
  }
  // A policy of one namespace has no selector for namespaces: those conditions are lost there.
  if (namespace !== null) dropped.push(...namespaces.map(({ key }) => `${namespaceLabels}${key}`));
  const subject = {
    ...(namespace === null && namespaces.length > 0 && { namespaceSelector: selectorOf(namespaces) }),
    ...(pods.length > 0 && { podSelector: selectorOf(pods) }),
    ...(serviceAccounts !== null && { serviceAccounts }),
  };
  return { subject, dropped };
}

/** The subject of a cluster-wide policy that is about pods of this namespace alone, or of all of them. */
export function clusterWide(subject: Subject, namespace: string | null): Subject {
  if (namespace !== null)
    return { namespaceSelector: { matchLabels: { [nameLabel]: namespace } }, ...subject };
  // A subject says something, and this one selects every pod.
  return Object.keys(subject).length === 0 ? { podSelector: {} } : subject;
}

function expressionsOf({
  matchLabels,
  matchExpressions,
}: z.output<typeof selectorSchema>): LabelExpression[] {
  const labels = Object.entries(matchLabels ?? {}).map(
    ([key, value]): LabelExpression => ({ key, operator: 'In', values: [value ?? ''] }),
  );
  const expressions = (matchExpressions ?? []).map(({ key, operator, values }): LabelExpression => {
    return { key, operator, ...(values && values.length > 0 && { values }) };
  });
  return [...labels, ...expressions];
}

/** Without its source where that is Kubernetes or anybody; null for labels of other sources, which pods do not have. */
function plainKey(key: string): string | null {
  const colon = key.indexOf(':');
  if (colon < 0) return key;
  return ['k8s', 'any'].includes(key.slice(0, colon)) ? key.slice(colon + 1) : null;
}

/** Single values as plain labels, which is how people write them. */
function selectorOf(expressions: readonly LabelExpression[]): LabelSelector {
  const isPlain = ({ operator, values }: LabelExpression) => operator === 'In' && values?.length === 1;
  const keys = expressions.filter(isPlain).map(({ key }) => key);
  const isOnce = (key: string) => keys.filter(each => each === key).length === 1;
  const labels = expressions.filter(each => isPlain(each) && isOnce(each.key));
  const rest = expressions.filter(each => !labels.includes(each));
  return {
    ...(labels.length > 0 && {
      matchLabels: Object.fromEntries(labels.map(({ key, values }) => [key, values![0]!])),
    }),
    ...(rest.length > 0 && { matchExpressions: rest }),
  };
}
