// A kind as its CustomResourceDefinition (`apiextensions.k8s.io/v1`), and that as YAML. Pure; write.ts writes files.

import { stringify } from 'yaml';
import { sallyportVersion } from '../../config/policy/version.ts';
import type { CustomKind } from './kinds.ts';
import type { Schema } from './openapi.ts';
import { structuralSchema } from './structural.ts';

const [group, version] = sallyportVersion.split('/') as [string, string];

/** The schema of the whole object. */
export function objectSchema({ kind, description, spec, specDescription, status }: CustomKind): Schema {
  return {
    description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: { description: specDescription, ...structuralSchema(spec, `${kind}.spec`) },
      status,
    },
  };
}

export function definitionOf(custom: CustomKind) {
  const { kind, plural, shortName, scope, columns, selectable } = custom;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels: { 'app.kubernetes.io/name': 'sallyport' } },
    spec: {
      group,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [shortName],
        categories: ['sallyport', 'egress'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          ...(selectable.length > 0 && { selectableFields: selectable.map(jsonPath => ({ jsonPath })) }),
          schema: { openAPIV3Schema: objectSchema(custom) },
        },
      ],
    },
  };
}

const header = `# Generated from the schemas that check policy files (config/policy/schema-*.ts) by k8s/crd/write.ts.
# Not to be edited. Kubernetes 1.31 or newer.
`;

/** Texts that older readers of YAML would take for something else (\`on\`, \`1e3\`) stand in quotes. */
export function definitionYaml(custom: CustomKind): string {
  const yaml = stringify(definitionOf(custom), {
    compat: 'yaml-1.1',
    aliasDuplicateObjects: false,
    lineWidth: 110,
  });
  return header + yaml;
}
