// The schema of the chart's values, as values.schema.json: strict, so that a typo fails before anything is installed.
// What ends up in the gateway's configuration is checked by the gateway's own schema. It knows values, no templates.
// Run it to write the file.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { congestionControlSchema, gatewayConfigSchema, limitsSchema } from '../../config/gateway-config.ts';

const labelName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
const objectName = z.string().regex(/^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/);
const texts = z.record(z.string(), z.string());
const port = z.int().min(1).max(65_535);
const seconds = z.int().min(0).max(86_400);
const duration = z.string().regex(/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/);
const enabled = z.boolean();
const list = z.array(z.looseObject({}));
/** Of Kubernetes' own types: the API server knows them better, and refuses what is wrong. */
const kubernetesObject = z.looseObject({});

const managed = [
  'apiVersion',
  'kind',
  'listeners',
  'admin',
  'policies',
  'users',
  'kubernetes',
  'egress',
  'limits',
];

/** The parts of the configuration that the chart leaves to its user. */
const freeConfiguration = Object.fromEntries(
  Object.entries(gatewayConfigSchema.shape).filter(([key]) => !managed.includes(key)),
) as Record<string, z.ZodType>;

const { podCidrs, networkPolicies, status, lease } = gatewayConfigSchema.shape.kubernetes.unwrap().shape;
const { pools, required, attestation } = gatewayConfigSchema.shape.egress.unwrap().shape;
const interfaceName = z.string().regex(/^([^/\s.][^/\s]{0,14})?$/);

const configuration = z.strictObject({
  ...freeConfiguration,
  limits: limitsSchema.unwrap().omit({ drainTimeout: true }).optional(),
});

const listener = z.strictObject({
  port,
  protocols: z.array(z.enum(['http', 'socks5'])).min(1),
  authentication: z.enum(['Optional', 'Required']),
  congestionControl: congestionControlSchema.optional(),
});

const probe = z.strictObject({
  initialDelaySeconds: seconds.optional(),
  periodSeconds: seconds.min(1),
  timeoutSeconds: seconds.min(1),
  failureThreshold: z.int().min(1),
  successThreshold: z.int().min(1).optional(),
});

const spread = z.enum(['ScheduleAnyway', 'DoNotSchedule', 'Off']);
const peers = z.strictObject({ from: list });
const monitor = z.strictObject({ enabled, interval: duration, labels: texts });
const countOrPercent = z.union([z.int().min(0), z.string().regex(/^[0-9]{1,3}%$/)]);

const values = z.strictObject({
  nameOverride: z.string(),
  fullnameOverride: z.string(),
  commonLabels: texts,
  image: z.strictObject({
    repository: z.string().min(1),
    tag: z.string(),
    digest: z.string().regex(/^(sha256:[0-9a-f]{64})?$/),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']),
  }),
  imagePullSecrets: list,
  replicas: z.int().min(0),
  strategy: kubernetesObject,
  revisionHistoryLimit: z.int().min(0),
  listeners: z.record(labelName.max(15), listener),
  admin: z.strictObject({ port }),
  bindAddress: z.string().min(1),
  config: configuration,
  policies: z.record(z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$/), z.string().min(1)),
  users: z.strictObject({ existingSecret: objectName, key: z.string().regex(/^[-._a-zA-Z0-9]+$/) }),
  kubernetes: z.strictObject({
    enabled,
    networkPolicies,
    status,
    tokens: z.strictObject({ enabled, audiences: z.array(z.string().min(1)).min(1) }),
    savedState: z.strictObject({ enabled, existingClaim: objectName, sizeLimit: z.string() }),
    podCidrs,
    lease: lease.unwrap(),
  }),
  egress: z.strictObject({
    sourceAddresses: z.array(z.string().min(2)),
    pools,
    required,
    attestation: z.union([attestation.unwrap(), z.strictObject({})]),
    ownAddresses: z.strictObject({
      enabled,
      interface: interfaceName,
      pools: z.array(objectName.min(1)),
      leaseDuration: duration,
    }),
  }),
  hostNetwork: z.boolean(),
  drain: z.strictObject({
    preStopSeconds: seconds,
    timeout: duration,
    marginSeconds: seconds,
    terminationGracePeriodSeconds: seconds,
  }),
  resources: z.strictObject({
    requests: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
    limits: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
    claims: list.optional(),
  }),
  probes: z.strictObject({ startup: probe, readiness: probe, liveness: probe }),
  podSecurity: z.strictObject({
    assignUser: z.boolean(),
    sysctls: z.array(z.strictObject({ name: z.string(), value: z.string() })),
  }),
  priorityClassName: objectName,
  nodeSelector: texts,
  tolerations: list,
  affinity: kubernetesObject,
  topologySpread: z.strictObject({ zone: spread, host: spread, extra: list }),
  podLabels: texts,
  podAnnotations: texts,
  extraEnv: list,
  extraVolumes: list,
  extraVolumeMounts: list,
  serviceAccount: z.strictObject({ create: z.boolean(), name: objectName, annotations: texts }),
  rbac: z.strictObject({ create: z.boolean(), aggregateToView: z.boolean(), aggregateToEdit: z.boolean() }),
  crds: z.strictObject({ install: z.boolean() }),
  service: z.strictObject({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer']),
    trafficDistribution: z.enum(['Auto', 'PreferSameZone', 'PreferSameNode', 'PreferClose', 'None']),
    externalTrafficPolicy: z.enum(['Local', 'Cluster']),
    sessionAffinity: z.enum(['None', 'ClientIP']),
    annotations: texts,
  }),
  podDisruptionBudget: z.strictObject({ enabled, maxUnavailable: countOrPercent }),
  autoscaling: z.strictObject({
    enabled,
    minReplicas: z.int().min(1),
    maxReplicas: z.int().min(1),
    targetCPUPercent: z.int().min(0).max(1000),
    targetSessions: z.int().min(0),
    behavior: z.strictObject({
      scaleUp: kubernetesObject.optional(),
      scaleDown: kubernetesObject.optional(),
    }),
  }),
  networkPolicy: z.strictObject({
    enabled,
    clients: peers,
    monitoring: peers,
    egress: z.strictObject({
      cidrs: z.array(z.string()),
      except: z.array(z.string()),
      dnsPorts: z.array(port),
      apiServerPorts: z.array(port),
      extra: list,
    }),
  }),
  monitoring: z.strictObject({
    serviceMonitor: monitor,
    podMonitor: monitor,
    prometheusRule: z.strictObject({ enabled, labels: texts }),
    dashboard: z.strictObject({ enabled, labels: texts }),
  }),
  // Injection of proxy variables: what templates/injection*.yaml take.
  injection: z.strictObject({
    enabled,
    httpProxy: z.string().regex(/^(https?:\/\/[^\s,@]+)?$/),
    allProxy: z.string().regex(/^((https?|socks5h?):\/\/[^\s,@]+)?$/),
    noProxyExtra: z.array(z.string().regex(/^[^\s,]+$/)),
    failurePolicy: z.enum(['Fail', 'Ignore']),
    apiVersion: z.enum(['', 'v1', 'v1beta1']),
  }),
  bypassProbe: z.strictObject({
    enabled,
    namespaces: z.array(labelName),
    targets: z.array(z.string().min(1)),
    dns: z.array(z.string().min(1)),
    timeout: z.string().regex(/^[0-9]{1,5}(ms|s)$/),
    podLabels: texts,
  }),
  // Helm's own, which every chart is given.
  global: z.looseObject({}).optional(),
});

/** As JSON Schema. Defaults are left out: those of the chart are in values.yaml, and two places could disagree. */
export function valuesSchema(): unknown {
  const schema = z.toJSONSchema(values, {
    io: 'input',
    override: ({ jsonSchema }) => {
      delete jsonSchema.default;
    },
  });
  return { title: 'Values of the chart sallyport', ...schema };
}

const file = join(import.meta.dirname, '../chart/values.schema.json');

if (import.meta.main) {
  writeFileSync(file, JSON.stringify(valuesSchema(), null, 2));
  spawnSync('biome', ['format', '--write', file], { stdio: 'inherit' });
}
