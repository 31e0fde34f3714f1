// Closes what tests open: for one test through its teardown, for a whole file after its last test.
// It refuses to swallow a failure to close: a leak is a failed test.

import type { ExecutionContext, TestFn } from 'ava';

export interface Closable {
  close(): Promise<void>;
}

/** Closes `resource` when the test ends, whatever its outcome. */
export function during<T extends Closable>(t: ExecutionContext, resource: T): T {
  t.teardown(() => resource.close());
  return resource;
}

export interface Lifetime extends Closable {
  own<T extends Closable>(resource: T): T;
}

/** Owns resources and closes them, last opened first; all of them, even when one fails to close. */
export function lifetime(): Lifetime {
  const owned: Closable[] = [];
  return {
    own(resource) {
      owned.push(resource);
      return resource;
    },
    async close() {
      const failures: unknown[] = [];
      for (const resource of owned.splice(0).reverse()) {
        await resource.close().catch((error: unknown) => failures.push(error));
      }
      if (failures.length > 0) throw new AggregateError(failures, 'some test resources did not close');
    },
  };
}

/** A lifetime that ends after the last test of the file, passed or not. */
export function fileLifetime(test: TestFn): Lifetime {
  const scope = lifetime();
  test.after.always('close what the file opened', () => scope.close());
  return scope;
}
