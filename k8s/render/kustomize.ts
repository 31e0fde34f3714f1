// The kustomize base, from the chart: what `helm template` makes of it, without what is Helm's. Run it to write the
// files; the environment variable HELM names the program where it is not `helm`. Kustomizations, the namespace and the
// patches are written by hand. The definitions stay in k8s/crds: kustomize takes no file from outside its folder.

import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';

const chart = join(import.meta.dirname, '../chart');
const kustomize = join(import.meta.dirname, '../kustomize');

/** The oldest Kubernetes that the chart takes: its words are understood by all later ones. */
const kubeVersion = '1.31.0';

interface Metadata {
  name: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

interface Rendered {
  kind: string;
  metadata: Metadata;
  data?: Record<string, string>;
  spec?: { template?: { metadata: Metadata } };
}

function render(helm: string, values: object): { template: string; object: Rendered }[] {
  const args = ['template', 'sallyport', chart, '--namespace', 'sallyport', '--kube-version', kubeVersion];
  const output = execFileSync(helm, [...args, '--no-hooks', '--values', '-'], {
    input: JSON.stringify(values),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 64 * 1024 ** 2,
  });
  return output
    .split(/^---$/m)
    .map(text => ({
      template: /^# Source: sallyport\/templates\/(\S+)$/m.exec(text)?.[1] ?? '',
      object: parseAllDocuments(text)[0]?.toJS() as Rendered | null,
    }))
    .filter((each): each is { template: string; object: Rendered } => Boolean(each.object));
}

const helmLabels = ['helm.sh/chart', 'app.kubernetes.io/managed-by'];
/** It would be that of the base's configuration in every overlay, whatever its own. */
const checksum = 'sallyport.dev/restart-checksum';

function without(metadata: Metadata): void {
  for (const label of helmLabels) delete metadata.labels?.[label];
  delete metadata.annotations?.[checksum];
}

const written = '# Written by `node k8s/render/kustomize.ts` from the chart. Do not edit.\n';

function manifest(objects: readonly Rendered[]): string {
  for (const object of objects) {
    without(object.metadata);
    if (object.spec?.template?.metadata) without(object.spec.template.metadata);
  }
  return written + objects.map(object => stringify(object, { lineWidth: 0, version: '1.1' })).join('---\n');
}

/** One file for each template of the chart; the configuration is a file that kustomize makes a ConfigMap of. */
function base(helm: string): Record<string, string> {
  const files: Record<string, string> = {};
  const rendered = render(helm, { crds: { install: false } });
  for (const template of new Set(rendered.map(each => each.template))) {
    const objects = rendered.filter(each => each.template === template).map(each => each.object);
    if (template === 'configmap.yaml')
      files['base/gateway.yaml'] = written + objects[0]!.data!['gateway.yaml'];
    else files[`base/${template}`] = manifest(objects);
  }
  return files;
}

function overlays(helm: string): Record<string, string> {
  const autoscaled = render(helm, { autoscaling: { enabled: true, minReplicas: 3, maxReplicas: 20 } });
  const audited = render(helm, {
    config: { defaults: { action: 'Allow' } },
    policies: { audit: '# see beside' },
  });
  const of = (rendered: typeof autoscaled, template: string) =>
    rendered.filter(each => each.template === template).map(each => each.object);
  return {
    'overlays/ha/horizontalpodautoscaler.yaml': manifest(of(autoscaled, 'horizontalpodautoscaler.yaml')),
    'overlays/audit/gateway.yaml': written + of(audited, 'configmap.yaml')[0]!.data!['gateway.yaml'],
  };
}

/** Every generated file, by its path in k8s/kustomize. */
export function kustomizeFiles(helm: string): Record<string, string> {
  return { ...base(helm), ...overlays(helm) };
}

const handWritten = ['kustomization.yaml', 'namespace.yaml'];

if (import.meta.main) {
  const files = kustomizeFiles(process.env.HELM || 'helm');
  for (const name of readdirSync(join(kustomize, 'base')))
    if (!handWritten.includes(name)) rmSync(join(kustomize, 'base', name));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(kustomize, name), text);
}
