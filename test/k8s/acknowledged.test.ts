// Which objects are in force where: what a replica may acknowledge, and what the leader takes for acknowledged.

import test from 'ava';
import fc from 'fast-check';
import { AppliedGenerations, FirstSights, upTo } from '../../k8s/acknowledged.ts';
import { compareVersions, isVersion } from '../../k8s/resource-version.ts';
import { policyObject } from './policy-objects.ts';

const no = () => false;
const versions = (entries: Record<string, string>) => new Map(Object.entries(entries));

test('resourceVersions compare as numbers, of any size', t => {
  const version = fc.bigInt({ min: 0n, max: 2n ** 100n });
  fc.assert(
    fc.property(version, version, (one, other) => {
      const expected = one < other ? -1 : one > other ? 1 : 0;
      t.is(Math.sign(compareVersions(String(one), String(other))), expected);
    }),
  );
});

test('what is no number is no version', t => {
  for (const text of ['', '007', '-1', '1.5', '1e3', ' 1', 'abc', undefined, 7]) t.false(isVersion(text));
  for (const text of ['0', '7', '18446744073709551616']) t.true(isVersion(text));
});

test('an object is in force as it was when the policy was made, and not as it became since', t => {
  const applied = new AppliedGenerations();
  const object = policyObject();
  t.false(applied.has(object));
  applied.applied({ egresspolicies: '10' }, [object]);
  t.true(applied.has(object));
  t.false(applied.has({ ...object, generation: 2, resourceVersion: '11' }));
  t.false(applied.has({ ...object, uid: 'a later one of the same name' }));
});

test('objects newer than the versions are not taken for applied', t => {
  const old = policyObject();
  const young = policyObject({ name: 'other', resourceVersion: '11' });
  const strange = policyObject({ name: 'strange', resourceVersion: 'abc' });
  t.deepEqual(upTo({ egresspolicies: '10' }, [old, young, strange]), [old]);
  t.deepEqual(upTo({}, [old]), []);
});

test('a status written since is acknowledged along', t => {
  const applied = new AppliedGenerations();
  const object = policyObject();
  applied.applied({ egresspolicies: '10', egressippools: '3' }, [object]);
  const written = { ...object, resourceVersion: '25', status: {} };
  t.deepEqual(applied.acknowledged([written]), { egresspolicies: '25', egressippools: '3' });
});

test('while one object of a resource is behind, nothing newer of that resource is acknowledged', t => {
  const applied = new AppliedGenerations();
  const [one, other] = [policyObject(), policyObject({ name: 'other', resourceVersion: '9' })];
  applied.applied({ egresspolicies: '10' }, [one, other]);
  const behind = { ...one, generation: 2, resourceVersion: '20' };
  const written = { ...other, resourceVersion: '30' };
  t.deepEqual(applied.acknowledged([behind, written]), { egresspolicies: '10' });
});

test('a version above all objects stays: the policy may know of a deletion', t => {
  const applied = new AppliedGenerations();
  applied.applied({ egresspolicies: '50' }, [policyObject()]);
  t.deepEqual(applied.acknowledged([policyObject()]), { egresspolicies: '50' });
});

test('a generation is acknowledged by who has applied the version at which it was first seen', t => {
  const sights = new FirstSights();
  const object = policyObject({ generation: 2, resourceVersion: '100' });
  sights.saw([object], no);
  // Statuses written since ask nothing more of the replicas.
  const later = { ...object, resourceVersion: '120' };
  sights.saw([later], no);
  t.false(sights.isAcknowledged(later, versions({ egresspolicies: '99' })));
  t.true(sights.isAcknowledged(later, versions({ egresspolicies: '100' })));
  t.true(sights.isAcknowledged(later, versions({ egresspolicies: '1000' })));
  t.false(sights.isAcknowledged(later, versions({ clusteregresspolicies: '1000' })));
  t.false(sights.isAcknowledged({ ...later, generation: 3 }, versions({ egresspolicies: '1000' })), 'unseen');
});

test('a new leader asks for no second acknowledgement of what was in force everywhere', t => {
  const sights = new FirstSights();
  const object = policyObject({ resourceVersion: '100' });
  sights.saw([object], () => true);
  t.true(sights.isAcknowledged(object, versions({ egresspolicies: '4' })));
  t.false(sights.isAcknowledged(object, versions({})), 'a replica that never listed them');
  const next = { ...object, generation: 2, resourceVersion: '130' };
  sights.saw([next], () => true);
  t.false(
    sights.isAcknowledged(next, versions({ egresspolicies: '129' })),
    'only the first sight is trusted',
  );
});

test('after a restore of the API server’s data, versions begin anew', t => {
  const sights = new FirstSights();
  sights.saw([policyObject({ resourceVersion: '900' })], no);
  const restored = policyObject({ resourceVersion: '40' });
  sights.saw([restored], no);
  t.true(sights.isAcknowledged(restored, versions({ egresspolicies: '41' })));
});

/**
 * A model: one replica applies policies at arbitrary moments while specs and statuses change. What it acknowledges is
 * never ahead of what it has applied.
 */
test('no acknowledgement is ever early, and none stays out', t => {
  const step = fc.constantFrom('spec0', 'spec1', 'status0', 'status1', 'apply', 'look' as const);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      let version = 10;
      let objects = ['a', 'b'].map(name => policyObject({ name, resourceVersion: String(++version) }));
      const replica = new AppliedGenerations();
      const leader = new FirstSights();
      const inForce = new Map<string, number>();
      const apply = () => {
        replica.applied({ egresspolicies: String(version) }, objects);
        for (const { uid, generation } of objects) inForce.set(uid, generation);
      };
      const change = (at: number, grown: number) => {
        objects = objects.map((object, index) =>
          index === at
            ? { ...object, generation: object.generation + grown, resourceVersion: String(++version) }
            : object,
        );
      };
      const acknowledged = () => {
        leader.saw(objects, no);
        const told = versions({ ...replica.acknowledged(objects) });
        return objects.map(object => leader.isAcknowledged(object, told));
      };
      apply();
      for (const each of steps) {
        if (each === 'apply') apply();
        else if (each !== 'look') change(Number(each.at(-1)), each.startsWith('spec') ? 1 : 0);
        const told = acknowledged();
        for (const [at, object] of objects.entries())
          if (told[at]) t.is(inForce.get(object.uid), object.generation, 'early');
      }
      apply();
      t.deepEqual(acknowledged(), [true, true]);
    }),
  );
});
