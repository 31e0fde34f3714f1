// Waiting with a bound, so that a test that would hang fails and says what it waited for.
// The bounds are generous on purpose: no test asserts how long something took.

const waitLimitMs = 40_000;

/** Rejects after the limit with what was awaited and what was seen until then. */
export async function within<T>(
  promise: Promise<T>,
  what: string,
  seen: () => string = () => '',
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`waited ${waitLimitMs} ms for ${what}; seen: ${seen()}`)),
      waitLimitMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again every few milliseconds until there is an answer other than undefined. */
export async function eventually<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  what: string,
  seen: () => string = () => '',
): Promise<T> {
  const deadline = Date.now() + waitLimitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${waitLimitMs} ms for ${what}; seen: ${seen()}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}
