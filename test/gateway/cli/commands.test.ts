// The command line as a whole: which command runs, help, versions and exit codes of misuse.

import test from 'ava';
import { run } from './run.ts';

test('--help lists every command with a line of its own', async t => {
  for (const argv of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await run(argv);
    t.is(code, 0);
    t.is(stderr, '');
    for (const name of ['serve', 'check', 'logs']) t.regex(stdout, new RegExp(`^  ${name} +\\S`, 'm'));
  }
});

for (const name of ['serve', 'check', 'logs'])
  test(`${name} has a help of its own, however it is asked for`, async t => {
    for (const argv of [
      [name, '--help'],
      [name, '-h'],
      ['help', name],
      [name, 'x', '--help'],
    ]) {
      const { code, stdout } = await run(argv);
      t.is(code, 0);
      t.true(stdout.startsWith(`Usage: sallyport ${name}`));
      t.regex(stdout, /Exit codes: 0/);
    }
  });

test('--version', async t => {
  for (const argv of [['--version'], ['-V']]) {
    const { code, stdout } = await run(argv);
    t.is(code, 0);
    t.regex(stdout, /^sallyport \d+\.\d+\.\d+\n$/);
  }
});

const misuses: [string[], string][] = [
  [[], 'no command given'],
  [['sevre'], 'unknown command "sevre", try serve'],
  [['chekc', 'x'], 'unknown command "chekc", try check'],
  [['banana'], 'unknown command "banana"\n'],
  [['--config', 'x'], 'unknown command "--config"'],
  [['help', 'chek'], 'unknown command "chek", try check'],
  [['serve'], 'no configuration given, try --config'],
  [['serve', '--config'], 'serve: Option'],
  [['serve', '--config='], 'no configuration given'],
  [['serve', 'config/gateway.yaml'], 'serve takes no operand, got "config/gateway.yaml"'],
  [['serve', '--cofnig', 'x'], 'serve: unknown option --cofnig, try --config'],
  [['serve', '-c', 'x'], 'serve: unknown option -c'],
  [['check'], 'no FILE given'],
  [['check', '--output', 'yaml', 'x'], '--output takes text or json, got "yaml"'],
  [['check', '--output=jsn', 'x'], '--output takes text or json, got "jsn", try json'],
  [['logs', 'a', 'b'], 'one FILE at a time, got "b" too'],
  [['logs', '--verdict', 'denied', 'x'], '--verdict takes allow or deny, got "denied"'],
  [['logs', '--follow=yes', 'x'], 'logs: Option'],
];
for (const [argv, expected] of misuses)
  test(`misuse: ${argv.join(' ') || '(nothing)'}`, async t => {
    const { code, stdout, stderr } = await run(argv);
    t.is(code, 2);
    t.is(stdout, '');
    t.true(stderr.includes(expected), stderr);
    t.regex(stderr, /^sallyport: .*\nSee sallyport .*--help\n$/);
  });

test('serve passes the file on, and its exit code back', async t => {
  const files: string[] = [];
  const serve = async (file: string) => files.push(file) + 6;
  t.is((await run(['serve', '--config', 'a.yaml'], { serve })).code, 7);
  t.is((await run(['serve', '--config=b.yaml'], { serve })).code, 8);
  t.deepEqual(files, ['a.yaml', 'b.yaml']);
});

test('what a command throws is no misuse', async t => {
  const serve = () => Promise.reject(new Error('broken'));
  await t.throwsAsync(run(['serve', '--config', 'a'], { serve }), { message: 'broken' });
});
