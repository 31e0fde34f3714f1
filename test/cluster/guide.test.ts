// k8s/GUIDE.md tells the truth: its commands are run in order, by bash with the real kubectl and helm against a real API
// server, and print what the guide shows. What stands in for nodes, pods and the internet: guide-cluster.ts.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Block, canBeAskedAgain, guideBlocks, isAsShown } from '../support/cluster/guide-blocks.ts';
import { type GuideCluster, startGuideCluster } from '../support/cluster/guide-cluster.ts';
import { type Shell, startShell } from '../support/cluster/guide-shell.ts';
import { fileLifetime } from '../support/lifetime.ts';
import { eventually } from '../support/waiting.ts';

const file = path.resolve(import.meta.dirname, '../../k8s/GUIDE.md');
const markdown = readFileSync(file, 'utf8');
const blocks = guideBlocks(markdown);

const life = fileLifetime(test);
let guide: GuideCluster;
let shell: Shell;

test.before('start a cluster to follow the guide in', async t => {
  t.timeout(120_000);
  guide = life.own(await startGuideCluster());
  shell = await startShell(guide.cluster, guide.shellCurlHome);
});

/** What is asked only is asked until it answers as shown: what a change leads to takes a moment. */
async function follow(t: ExecutionContext, block: Block): Promise<void> {
  const ask = async () => {
    const outcome = await shell.run(block.commands);
    guide.check();
    const isGood = outcome.code === 0 && (block.output === null || isAsShown(block.output, outcome.printed));
    return { ...outcome, isGood };
  };
  let last = await ask();
  if (!last.isGood && canBeAskedAgain(block))
    await eventually(async () => {
      last = await ask();
      return last.isGood || undefined;
    }, `the output that the guide shows`).catch(() => {});
  t.is(last.code, 0, last.printed);
  t.true(last.isGood, `printed:\n${last.printed}\nshown:\n${block.output}`);
}

for (const block of blocks.filter(({ isRun }) => isRun))
  test.serial(`GUIDE.md:${block.line} ${block.section}`, async t => {
    t.timeout(150_000);
    await follow(t, block);
  });

test('what is printed must be what is shown, line by line', t => {
  t.true(isAsShown('a  b\n', '  a b\n\n'));
  t.true(isAsShown('a … c\n', 'a b b c\n'));
  t.true(isAsShown('a\n…\nd\n', 'a\nb\nc\nd\n'));
  t.true(isAsShown('…\n', ''));
  for (const printed of ['', 'a\n', 'a\nb\nc\n', 'b\na\n', 'ab\nb\n'])
    t.false(isAsShown('a\nb\n', printed), JSON.stringify(printed));
  t.false(isAsShown('1.2\n', '1x2\n'), 'a dot is a dot');
  t.false(isAsShown('a …\n', 'b a c\n'));
});

test('these blocks are not run, and say why', t => {
  const left = blocks.filter(({ isRun }) => !isRun);
  t.deepEqual(
    left.map(({ commands }) => commands.trim().split('\n').slice(1)),
    [
      ['npm ci && export PATH="$PWD/gateway/cli:$PATH"'],
      [
        'podman build --tag registry.example.com/sallyport:0.1.0 . && podman push registry.example.com/sallyport:0.1.0',
      ],
      ['kubectl --namespace sallyport port-forward deployment/sallyport 9128'],
    ],
  );
  for (const { commands, line } of left) t.regex(commands, /^# not run by the test: \w/, `line ${line}`);
});

test('links lead to files', t => {
  for (const [, target] of markdown.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g))
    t.true(existsSync(path.resolve(path.dirname(file), target!)), target);
});
