// Which objects are in force where: what a replica may acknowledge, and what the leader takes for acknowledged.

import test from 'ava';
import fc from 'fast-check';
import { AppliedGenerations, FirstSights } from '../../k8s/acknowledged.ts';
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

test('objects newer than the versions are not taken for applied, and stay as they were known', t => {
  const applied = new AppliedGenerations();
  const old = policyObject();
  const young = policyObject({ name: 'other', resourceVersion: '11' });
  const strange = policyObject({ name: 'strange', resourceVersion: 'abc' });
  const unlisted = policyObject({ name: 'unlisted', resource: 'egressippools' });
  applied.applied({ egresspolicies: '10' }, [old, young, strange, unlisted]);
  t.deepEqual(
    [old, young, strange, unlisted].map(object => applied.has(object)),
    [true, false, false, false],
  );
  // A status written to it: still the generation that is in force.
  const written = { ...old, resourceVersion: '30' };
  applied.applied({ egresspolicies: '20' }, [written, young]);
  t.true(applied.has(written));
  t.true(applied.has(young));
});

test('what took force is news; a version alone is none', t => {
  const applied = new AppliedGenerations();
  const object = policyObject();
  t.is(applied.revision, 0);
  applied.applied({ egresspolicies: '9' }, []);
  t.is(applied.revision, 1, 'that there is nothing, is news at first');
  applied.applied({ egresspolicies: '10' }, [object]);
  t.is(applied.revision, 2);
  applied.applied({ egresspolicies: '25' }, [{ ...object, resourceVersion: '25' }]);
  t.is(applied.revision, 2);
  applied.applied({ egresspolicies: '26' }, [{ ...object, resourceVersion: '26', generation: 2 }]);
  t.is(applied.revision, 3);
  applied.applied({ egresspolicies: '27' }, []);
  t.is(applied.revision, 3);
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
  const step = fc.constantFrom('spec0', 'spec1', 'status0', 'status1', 'gather', 'apply', 'look');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      let version = 10;
      let objects = ['a', 'b'].map(name => policyObject({ name, resourceVersion: String(++version) }));
      const replica = new AppliedGenerations();
      const leader = new FirstSights();
      const inForce = new Map<string, number>();
      let gathered = { version, objects };
      let told = versions({});
      const gather = () => {
        gathered = { version, objects };
      };
      const apply = () => {
        told = versions({ egresspolicies: String(gathered.version) });
        replica.applied({ egresspolicies: String(gathered.version) }, objects);
        for (const { uid, generation } of gathered.objects) inForce.set(uid, generation);
      };
      const change = (at: number, grown: number) => {
        objects = objects.map((object, index) =>
          index === at
            ? { ...object, generation: object.generation + grown, resourceVersion: String(++version) }
            : object,
        );
      };
      apply();
      for (const each of steps) {
        if (each === 'gather') gather();
        else if (each === 'apply') apply();
        else if (each === 'look') leader.saw(objects, no);
        else change(Number(each.at(-1)), each.startsWith('spec') ? 1 : 0);
        for (const object of objects) {
          const isInForce = inForce.get(object.uid) === object.generation;
          t.true(isInForce || !replica.has(object), 'the replica itself');
          t.true(isInForce || !leader.isAcknowledged(object, told), 'the leader');
        }
      }
      leader.saw(objects, no);
      gather();
      apply();
      t.true(objects.every(object => replica.has(object) && leader.isAcknowledged(object, told)));
    }),
  );
});
