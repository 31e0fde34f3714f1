// Kubernetes objects by kind and name, over the tests' own client: apply, get, list, delete, patch the status.
// Paths come from the server's discovery, so custom resources work as soon as their definition is served.

import { parseAllDocuments } from 'yaml';
import { eventually } from '../waiting.ts';
import type { ApiClient, ApiResponse, KubernetesObject, RequestOptions } from './api-client.ts';

interface ObjectRef {
  apiVersion: string;
  kind: string;
  name: string;
  /** `default` where the kind has namespaces and none is named. */
  namespace?: string;
}

interface ListRef {
  apiVersion: string;
  kind: string;
  /** All namespaces where none is named. */
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface Objects {
  /** Server-side apply, forced; one object, several, or YAML with several. Waits until a CRD among them is served. */
  apply(given: string | object | object[]): Promise<KubernetesObject[]>;
  /** Null when there is none. */
  get<T = KubernetesObject>(ref: ObjectRef): Promise<T | null>;
  list<T = KubernetesObject>(ref: ListRef): Promise<T[]>;
  /** Without grace; false when there was none. */
  delete(ref: ObjectRef): Promise<boolean>;
  /** A merge patch, of the object itself or with `subresource` of its status or the like. */
  patch(ref: ObjectRef, patch: object, subresource?: string): Promise<KubernetesObject>;
  patchStatus(ref: ObjectRef, status: object): Promise<KubernetesObject>;
}

interface Resource {
  name: string;
  kind: string;
  namespaced: boolean;
}

/** An answer other than 2xx, where the test asked for something to be done. */
class ApiError extends Error {
  readonly status: number;

  constructor(what: string, { status, body }: ApiResponse) {
    const message = (body as { message?: string } | null)?.message ?? JSON.stringify(body);
    super(`${what}: ${status} ${message}`);
    this.status = status;
  }
}

/** The body of a good answer; throws `ApiError` on any other. */
export async function demand<T>(
  client: ApiClient,
  method: string,
  path: string,
  body?: unknown,
  options?: RequestOptions,
): Promise<T> {
  const response = await client.request<T>(method, path, body, options);
  if (response.status >= 300) throw new ApiError(`${method} ${path}`, response);
  return response.body;
}

const groupPath = (apiVersion: string) =>
  apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;

async function findResource(
  client: ApiClient,
  apiVersion: string,
  kind: string,
): Promise<Resource | undefined> {
  const { status, body } = await client.request<{ resources: Resource[] }>('GET', groupPath(apiVersion));
  if (status !== 200) return undefined;
  return body.resources.find(resource => resource.kind === kind && !resource.name.includes('/'));
}

function resourcePaths(client: ApiClient) {
  const known = new Map<string, Resource>();
  return async (ref: ListRef, namespace: string | undefined) => {
    const key = `${ref.apiVersion} ${ref.kind}`;
    const resource = known.get(key) ?? (await findResource(client, ref.apiVersion, ref.kind));
    if (resource === undefined) throw new Error(`the API server does not serve ${key}`);
    known.set(key, resource);
    const within = resource.namespaced && namespace !== undefined ? `/namespaces/${namespace}` : '';
    return `${groupPath(ref.apiVersion)}${within}/${resource.name}`;
  };
}

const asObjects = (given: string | object | object[]): KubernetesObject[] => {
  if (typeof given !== 'string') return [given].flat() as KubernetesObject[];
  return parseAllDocuments(given)
    .map(document => document.toJS() as KubernetesObject | null)
    .filter(object => object !== null);
};

/** Established is not enough: discovery follows a little later. */
async function untilServed(client: ApiClient, definition: KubernetesObject): Promise<void> {
  const { group, names, versions } = definition.spec as {
    group: string;
    names: { kind: string };
    versions: { name: string; served: boolean }[];
  };
  for (const { name } of versions.filter(version => version.served)) {
    await eventually(
      () => findResource(client, `${group}/${name}`, names.kind),
      `${names.kind} of ${group}/${name} to be served`,
    );
  }
}

const query = (parameters: Record<string, string | undefined>) => {
  const given = Object.entries(parameters).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
};

const applyPatch = { contentType: 'application/apply-patch+yaml' };
const mergePatch = { contentType: 'application/merge-patch+json' };

export function objects(client: ApiClient): Objects {
  const pathOf = resourcePaths(client);
  const itemPath = async (ref: ObjectRef) => `${await pathOf(ref, ref.namespace ?? 'default')}/${ref.name}`;
  const applyOne = async (object: KubernetesObject) => {
    const { apiVersion, kind, metadata } = object;
    const path = await itemPath({ apiVersion, kind, ...metadata });
    const force = query({ fieldManager: 'test', force: 'true' });
    const applied = await demand<KubernetesObject>(client, 'PATCH', path + force, object, applyPatch);
    if (kind === 'CustomResourceDefinition') await untilServed(client, applied);
    return applied;
  };
  const patch: Objects['patch'] = async (ref, change, subresource) => {
    const path = await itemPath(ref);
    return demand(client, 'PATCH', subresource ? `${path}/${subresource}` : path, change, mergePatch);
  };
  return {
    async apply(given) {
      const applied: KubernetesObject[] = [];
      for (const object of asObjects(given)) applied.push(await applyOne(object));
      return applied;
    },
    async get<T>(ref: ObjectRef) {
      const path = await itemPath(ref);
      const response = await client.request<T>('GET', path);
      if (response.status === 404) return null;
      if (response.status >= 300) throw new ApiError(`GET ${path}`, response);
      return response.body;
    },
    async list<T>(ref: ListRef) {
      const { labelSelector, fieldSelector } = ref;
      const path = (await pathOf(ref, ref.namespace)) + query({ labelSelector, fieldSelector });
      return (await demand<{ items: T[] }>(client, 'GET', path)).items;
    },
    async delete(ref) {
      const path = `${await itemPath(ref)}?gracePeriodSeconds=0`;
      const response = await client.request('DELETE', path);
      if (response.status >= 300 && response.status !== 404) throw new ApiError(`DELETE ${path}`, response);
      return response.status !== 404;
    },
    patch,
    patchStatus: (ref, status) => patch(ref, { status }, 'status'),
  };
}
