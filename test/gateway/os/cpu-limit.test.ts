// CPU limits as cgroups tell of them: version 2 and 1, of the process's own group or one above, in a container or not.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { hasCpuLimit } from '../../../gateway/os/cpu-limit.ts';

interface Case {
  readonly membership: string;
  readonly files: Record<string, string>;
  readonly limit: boolean;
}

const cases: Record<string, Case> = {
  'version 2: none': {
    membership: '0::/kubepods/pod1\n',
    files: { 'kubepods/pod1/cpu.max': 'max 100000\n' },
    limit: false,
  },
  'version 2: its own': {
    membership: '0::/kubepods/pod1\n',
    files: { 'kubepods/pod1/cpu.max': '50000 100000\n' },
    limit: true,
  },
  'version 2: of a group above': {
    membership: '0::/system.slice/sallyport.service\n',
    files: {
      'system.slice/cpu.max': '150000 100000\n',
      'system.slice/sallyport.service/cpu.max': 'max 100000\n',
    },
    limit: true,
  },
  'version 2: in a container, where its group is the root': {
    membership: '0::/\n',
    files: { 'cpu.max': '200000 100000\n' },
    limit: true,
  },
  'version 1: none': {
    membership: '4:cpu,cpuacct:/pod1\n0::/\n',
    files: { 'cpu,cpuacct/pod1/cpu.cfs_quota_us': '-1\n' },
    limit: false,
  },
  'version 1: its own': {
    membership: '5:memory:/pod1\n4:cpu,cpuacct:/pod1\n',
    files: { 'cpu,cpuacct/pod1/cpu.cfs_quota_us': '50000\n' },
    limit: true,
  },
  'version 1: in a container that has no namespace for groups': {
    membership: '4:cpu:/kubepods/pod1\n',
    files: { 'cpu/cpu.cfs_quota_us': '50000\n' },
    limit: true,
  },
  'nothing to read': { membership: 'what is this\n\n7:\n', files: {}, limit: false },
};

for (const [title, { membership, files, limit }] of Object.entries(cases))
  test(title, t => {
    const folder = mkdtempSync(path.join(tmpdir(), 'cpu-limit-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.join(folder, path.dirname(name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
    writeFileSync(path.join(folder, 'membership'), membership);
    t.is(hasCpuLimit(path.join(folder, 'membership'), folder), limit);
  });

test('no such file: none', t => {
  t.false(hasCpuLimit('/nowhere/cgroup', '/nowhere'));
});
