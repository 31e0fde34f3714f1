// A Job that runs `sallyport bypass` in a namespace, as an object with comments. It fits restricted Pod Security, needs
// nothing of the cluster, and is gone by itself after a while. templates/bypass-probe.yaml of the chart makes the same.

import type { CommentedObject } from '../../config/lockdown.ts';

export interface JobOptions {
  readonly name: string;
  readonly namespace: string;
  readonly image: string;
  /** Beside those of the probe itself: for lockdowns and policies that select pods. */
  readonly labels: Readonly<Record<string, string>>;
  /** Of the command, its name first. */
  readonly args: readonly string[];
}

/** Seconds a finished Job stays, for its log to be read. */
const keptSeconds = 3600;
/** Seconds from its making to its end, the pull of the image included. */
const deadlineSeconds = 600;

export function bypassJob({ name, namespace, image, labels, args }: JobOptions): CommentedObject {
  const ownLabels = {
    'app.kubernetes.io/name': 'sallyport-bypass',
    'app.kubernetes.io/part-of': 'sallyport',
  };
  return {
    object: {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name, namespace, labels: ownLabels },
      spec: {
        backoffLimit: 0,
        ttlSecondsAfterFinished: keptSeconds,
        activeDeadlineSeconds: deadlineSeconds,
        template: {
          metadata: { labels: { ...ownLabels, 'sallyport.dev/inject': 'disabled', ...labels } },
          spec: podSpec(image, args),
        },
      },
    },
    comments: [
      {
        path: [],
        text: `Tries ways out of namespace ${namespace} that do not lead through the gateway. It fails where it finds one. To run it again: kubectl replace --force --filename FILE.`,
      },
      {
        path: ['spec', 'template', 'metadata', 'labels'],
        text: 'Policies see these labels: pods with others may have ways out that this one has not.',
      },
    ],
  };
}

function podSpec(image: string, args: readonly string[]) {
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'bypass',
        image,
        args,
        resources: { requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '256Mi' } },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          runAsNonRoot: true,
          capabilities: { drop: ['ALL'] },
        },
        terminationMessagePolicy: 'FallbackToLogsOnError',
      },
    ],
  };
}
