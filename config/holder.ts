// The one mutable cell of the configuration: what is in force, how to replace it, how to hear of it.
// It builds nothing and checks nothing: only a finished value comes in, and it is replaced whole.

/** Called after each swap, with the value now in force and the one before it. */
type SwapListener<T> = (current: T, previous: T) => void;

export interface Holder<T> {
  /** The value in force. A session takes it once, when it starts, and keeps that one. */
  current(): T;
  /**
   * Replaces the value, then tells every listener, in the order they came.
   * A listener that throws stops neither the swap nor the others; what they threw is returned,
   * and is the caller's to report. A swap inside a listener throws: the others would hear the older value last.
   */
  swap(next: T): readonly unknown[];
  /** Returns the function that ends the subscription; calling it again does nothing. */
  onSwap(listener: SwapListener<T>): () => void;
}

/**
 * A holder of `initial`. Values are frozen (the outermost object; what compiles a value freezes what is inside),
 * so that nobody can change what others have taken.
 */
export function createHolder<T>(initial: T): Holder<T> {
  let value = Object.freeze(initial);
  let swapping = false;
  const subscriptions = new Set<{ readonly listener: SwapListener<T> }>();
  return Object.freeze({
    current: () => value,
    swap(next: T) {
      if (swapping) throw new Error('swap called by a listener of the same holder');
      const previous = value;
      value = Object.freeze(next);
      swapping = true;
      try {
        return notify([...subscriptions], value, previous);
      } finally {
        swapping = false;
      }
    },
    onSwap(listener: SwapListener<T>) {
      const subscription = { listener };
      subscriptions.add(subscription);
      return () => void subscriptions.delete(subscription);
    },
  });
}

function notify<T>(
  subscriptions: readonly { listener: SwapListener<T> }[],
  current: T,
  previous: T,
): unknown[] {
  const thrown: unknown[] = [];
  for (const { listener } of subscriptions) {
    try {
      listener(current, previous);
    } catch (error) {
      thrown.push(error);
    }
  }
  return thrown;
}
