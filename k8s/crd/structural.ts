// From the schema that checks files to the schema that the API server checks objects by: structural OpenAPI v3
// (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/). It takes over
// types, enums, patterns, limits, defaults and descriptions, and adds what only a cluster has: bounds and CEL.
// It guesses nothing: it throws at what it cannot say in a structural schema, and at what lacks a description or bound.
//
// Unknown fields cannot be refused by a structural schema: the API server drops them, with a warning, or refuses them
// where the client asks for strict validation, as kubectl does.

import { z } from 'zod';
import { bounds } from './bounds.ts';
import { byEnding } from './endings.ts';
import type { Schema } from './openapi.ts';
import { validations } from './validations.ts';

type Told = z.core.JSONSchema.BaseSchema;

/** The schema of a part of the kind; `path` begins with the kind, such as `EgressPolicy.spec`. */
export function structuralSchema(schema: z.ZodType, path: string): Schema {
  return visit(z.toJSONSchema(schema, { io: 'input', target: 'openapi-3.0' }), path);
}

function visit(told: Told, path: string): Schema {
  const checks = byEnding(validations, path);
  const schema: Schema = {
    ...(told.description !== undefined && { description: told.description }),
    ...shapeOf(told, path),
    ...byEnding(bounds, path),
    ...byEnding(merging, path),
    ...(checks !== undefined && { 'x-kubernetes-validations': checks }),
  };
  refuseUnbounded(schema, path);
  return schema;
}

/** How server-side apply merges: rules one by one, each by its name; selectors, like every other list, as a whole. */
const merging: Readonly<Record<string, Schema>> = {
  rules: { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] },
  podSelector: { 'x-kubernetes-map-type': 'atomic' },
  namespaceSelector: { 'x-kubernetes-map-type': 'atomic' },
};

/**
 * Fields that the language has and this version refuses, whatever they hold. They have a type so that CEL sees them:
 * left out, the API server would drop them, and the rule would hold without them.
 */
const reserved: Readonly<Record<string, Schema>> = {
  limits: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
};

function shapeOf(told: Told, path: string): Schema {
  if (told.anyOf !== undefined) return unionOf(told.anyOf as Told[], path);
  switch (told.type) {
    case 'object':
      return objectOf(told, path);
    case 'array':
      return arrayOf(told, path);
    case 'string':
      return {
        type: 'string',
        ...picked(told, 'format', 'default', 'enum', 'minLength', 'maxLength', 'pattern'),
      };
    case 'integer':
      return { type: 'integer', format: 'int32', ...picked(told, 'default', 'minimum', 'maximum') };
    default:
      return reservedAt(path);
  }
}

function reservedAt(path: string): Schema {
  const schema = byEnding(reserved, path);
  if (schema === undefined) throw new Error(`${path}: no structural schema says this`);
  return schema;
}

function objectOf(told: Told, path: string): Schema {
  const { additionalProperties } = told;
  if (typeof additionalProperties === 'object') {
    refuseDefault(told, path);
    return { type: 'object', additionalProperties: visit(additionalProperties, `${path}{}`) };
  }
  const properties = Object.entries(told.properties ?? {}).map(([name, property]) => {
    const schema = visit(property as Told, `${path}.${name}`);
    if (schema.description === undefined) throw new Error(`${path}.${name} has no description`);
    return [name, schema] as const;
  });
  return { type: 'object', ...picked(told, 'required'), properties: Object.fromEntries(properties) };
}

function arrayOf(told: Told, path: string): Schema {
  refuseDefault(told, path);
  const items = visit(told.items as Told, `${path}[]`);
  return {
    type: 'array',
    ...picked(told, 'minItems', 'maxItems'),
    'x-kubernetes-list-type': 'atomic',
    items,
  };
}

/** An empty list or map means what absence means, so the API server need not write one; no other default is known. */
function refuseDefault(told: Told, path: string): void {
  if (Object.keys(told.default ?? {}).length > 0) throw new Error(`${path}: a default that is not empty`);
}

/**
 * A number or text in short, or a mapping: a field without a type, since structural schemas know no unions. Keywords
 * bind only values of their own type, so those of both stand side by side. The mapping is closed by its number of keys,
 * all of which are required. Values of a third type are left to the gateway, but for text where a number is meant.
 */
function unionOf(branches: readonly Told[], path: string): Schema {
  const [short, long] = branches.map(branch => shapeOf(branch, path));
  const keys = Object.keys(long?.properties ?? {});
  const isKnown = ['integer', 'string'].includes(short?.type ?? '') && long?.required?.length === keys.length;
  if (branches.length !== 2 || !isKnown) throw new Error(`${path}: no structural schema says this union`);
  const { type, format: _, ...ofShort } = short!;
  const { type: __, ...ofLong } = long!;
  const wholeNumber = {
    multipleOf: 1,
    pattern: '^a number without quotes, or a mapping of port and endPort$',
  };
  return {
    'x-kubernetes-preserve-unknown-fields': true,
    ...ofShort,
    ...(type === 'integer' && wholeNumber),
    ...ofLong,
    maxProperties: keys.length,
  };
}

function picked<Key extends keyof Told & keyof Schema>(told: Told, ...keys: Key[]): Schema {
  return Object.fromEntries(keys.filter(key => told[key] !== undefined).map(key => [key, told[key]]));
}

/** The cost of CEL is counted by the largest value that the schema admits. */
function refuseUnbounded(schema: Schema, path: string): void {
  const isBounded = {
    array: schema.maxItems !== undefined,
    object: schema.additionalProperties === undefined || schema.maxProperties !== undefined,
    string: schema.maxLength !== undefined || schema.enum !== undefined || schema.format === 'date-time',
    integer: schema.maximum !== undefined,
    boolean: true,
  };
  if (schema.type !== undefined && !isBounded[schema.type]) throw new Error(`${path} has no upper bound`);
}
