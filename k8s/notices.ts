// What people must notice of the gateway itself, as Events: looked for every few seconds, told once for each time it
// happens. What is told of single objects stands in reporting.ts.

import type { ClusterHealth } from '../config/cluster.ts';
import type { Notice } from './events.ts';

interface NoticesParts {
  health(): ClusterHealth;
  /** Whether the guard only tells of what it would deny. */
  guardAudits(): boolean;
  tell(notice: Notice): void;
}

const lookEveryMs = 5_000;
/** A shorter silence of the API server is told in metrics alone: restarts of it are ordinary. */
const longSilenceSeconds = 30;

export class Notices {
  readonly #parts: NoticesParts;
  readonly #timer: NodeJS.Timeout;
  #longestSilence = 0;
  #trouble: string | null = null;
  #guardAudits = false;
  #fromSavedCopy = false;

  constructor(parts: NoticesParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.look(), lookEveryMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Compares what is with what was when it last looked. */
  look(): void {
    const { staleSeconds, trouble, fromSavedCopy } = this.#parts.health();
    this.#lookAtSilence(staleSeconds);
    // While nothing is heard, silence is the trouble, and it cannot be told yet.
    if (staleSeconds === 0) this.#lookAtTrouble(trouble);
    this.#lookAtGuard(this.#parts.guardAudits());
    this.#lookAtCopy(fromSavedCopy);
  }

  /** Told when it is over: before, there is nobody to tell. */
  #lookAtSilence(seconds: number): void {
    const lasted = this.#longestSilence;
    this.#longestSilence = seconds === 0 ? 0 : Math.max(seconds, lasted);
    if (seconds > 0 || lasted < longSilenceSeconds) return;
    const note = `the Kubernetes API was not heard for ${Math.round(lasted)} s; what was known stayed in force`;
    this.#parts.tell({ type: 'Warning', reason: 'ApiServerAway', action: 'Watch', note, by: 'replica' });
  }

  #lookAtTrouble(trouble: string | null): void {
    const isNew = trouble !== null && trouble !== this.#trouble;
    this.#trouble = trouble;
    if (isNew)
      this.#parts.tell({
        type: 'Warning',
        reason: 'WatchFailed',
        action: 'Watch',
        note: trouble,
        by: 'replica',
      });
  }

  #lookAtGuard(audits: boolean): void {
    const changed = audits !== this.#guardAudits;
    this.#guardAudits = audits;
    if (!changed) return;
    if (audits)
      this.#parts.tell({
        type: 'Warning',
        reason: 'GuardInAudit',
        action: 'Swap',
        note: 'guard.mode is Audit: every rule that allows a name reaches private, loopback and metadata addresses',
      });
    else
      this.#parts.tell({
        type: 'Normal',
        reason: 'GuardEnforced',
        action: 'Swap',
        note: 'the guard is closed again',
      });
  }

  #lookAtCopy(fromSavedCopy: boolean): void {
    const isOver = this.#fromSavedCopy && !fromSavedCopy;
    this.#fromSavedCopy = fromSavedCopy;
    if (!isOver) return;
    const note = 'this replica had started from its saved copy; everything comes from the API server again';
    this.#parts.tell({ type: 'Normal', reason: 'SavedCopyLeft', action: 'Watch', note, by: 'replica' });
  }
}
