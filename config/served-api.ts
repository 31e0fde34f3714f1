// The question whether an API server serves a resource, as a type: k8s/ answers it, the command line asks it, main.ts
// joins them. Nothing here runs.

export interface ServedApi {
  /** Path of a kubeconfig, whose current context is asked; null for the ServiceAccount of the pod that this runs in. */
  readonly kubeconfig: string | null;
  readonly group: string;
  readonly version: string;
  /** Plural name. */
  readonly resource: string;
}
