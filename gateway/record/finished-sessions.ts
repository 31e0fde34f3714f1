// What becomes of a session that has ended, in whichever thread it was: it is counted, and its record is written. The
// same for the progress lines of long ones.

import type { SessionObserver } from '../session/registry.ts';
import type { Session } from '../session/session.ts';
import type { PolicyHits } from './policy-hits.ts';
import { recordLine } from './record.ts';

export interface RecordParts {
  readonly tally: { observe(session: Session): void };
  readonly hits: PolicyHits;
  /** Takes one line of the decision log. */
  append(line: string): void;
  /** Told of a session that failed on an error nobody foresaw. */
  reportInternal(session: Session): void;
}

export function recordSessions({ tally, hits, append, reportInternal }: RecordParts): SessionObserver {
  return {
    finished(session) {
      tally.observe(session);
      hits.observe(session);
      if (session.internalError) reportInternal(session);
      append(recordLine(session, 'session'));
    },
    progressed: session => append(recordLine(session, 'progress')),
  };
}
