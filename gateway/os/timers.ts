// Timers as the rooms need them, whoever keeps the time: Node, or the event loop of the data plane.

export interface Timers {
  /** Calls `act` once, `ms` from now. */
  after(ms: number, act: () => void): object;
  /** The timer is not to fire. Safe for one that has. */
  clear(timer: object): void;
}

export const nodeTimers: Timers = {
  after: (ms, act) => setTimeout(act, ms),
  clear: timer => clearTimeout(timer as NodeJS.Timeout),
};
