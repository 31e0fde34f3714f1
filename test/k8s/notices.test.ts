// What becomes an Event about the gateway itself, and that nothing becomes two.

import test from 'ava';
import type { ClusterHealth } from '../../config/cluster.ts';
import { Notices } from '../../k8s/notices.ts';

function watched() {
  const told: string[] = [];
  const state = { guard: false, health: {} as Partial<ClusterHealth> };
  const notices = new Notices({
    health: () => ({
      synced: true,
      fromSavedCopy: false,
      staleSeconds: 0,
      trouble: null,
      leader: false,
      ...state.health,
    }),
    guardAudits: () => state.guard,
    tell: ({ type, reason, by = 'leader' }) => void told.push(`${type} ${reason} ${by}`),
  });
  const look = (health: Partial<ClusterHealth>) => {
    state.health = health;
    notices.look();
    return told.splice(0);
  };
  return { look, state, notices };
}

test('a long silence is told once it is over, a short one is not', t => {
  const { look, notices } = watched();
  t.deepEqual(look({ staleSeconds: 29, trouble: 'no answer' }), []);
  t.deepEqual(look({}), []);
  t.deepEqual(look({ staleSeconds: 20, trouble: 'no answer' }), []);
  t.deepEqual(look({ staleSeconds: 31, trouble: 'no answer' }), []);
  t.deepEqual(look({}), ['Warning ApiServerAway replica']);
  t.deepEqual(look({}), []);
  notices.stop();
});

test('a watch that fails while the API server speaks is told once for each reason', t => {
  const { look, notices } = watched();
  t.deepEqual(look({ trouble: 'pods: 403' }), ['Warning WatchFailed replica']);
  t.deepEqual(look({ trouble: 'pods: 403' }), []);
  t.deepEqual(look({ trouble: 'nodes: 403' }), ['Warning WatchFailed replica']);
  t.deepEqual(look({}), []);
  t.deepEqual(look({ trouble: 'nodes: 403' }), ['Warning WatchFailed replica']);
  notices.stop();
});

test('the guard in Audit mode is told by the leader, and its end', t => {
  const { look, state, notices } = watched();
  state.guard = true;
  t.deepEqual(look({}), ['Warning GuardInAudit leader']);
  t.deepEqual(look({}), []);
  state.guard = false;
  t.deepEqual(look({}), ['Normal GuardEnforced leader']);
  notices.stop();
});

test('the end of a start from the saved copy is told', t => {
  const { look, notices } = watched();
  t.deepEqual(look({ fromSavedCopy: true }), []);
  t.deepEqual(look({}), ['Normal SavedCopyLeft replica']);
  notices.stop();
});
