// Whether an API server serves a resource: one call to its discovery, for commands that print objects. It keeps nothing
// and asks nothing else.

import type { ServedApi } from '../config/served-api.ts';
import { ApiError } from './api.ts';
import { connectApi } from './connect-api.ts';
import { fieldsOf, listOf } from './raw-object.ts';

/** Rejects with a reason, where there are no credentials or the API server does not answer. */
export async function servesApi({ kubeconfig, group, version, resource }: ServedApi): Promise<boolean> {
  const { api } = await connectApi(kubeconfig === null ? {} : { kubeconfig });
  try {
    const { resources } = fieldsOf(await api.get(`/apis/${group}/${version}`));
    return listOf(resources).some(each => fieldsOf(each).name === resource);
  } catch (error) {
    // `metav1.APIResourceList`, or 404 where the group or its version is not served.
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  } finally {
    await api.close();
  }
}
