// `npm run demo`: the whole job in a minute, offline. Exits 0 only if every outcome was the expected one
// and every session left exactly one record. It leaves nothing behind.

import assert from 'node:assert/strict';
import { styleText } from 'node:util';
import { formatSessions } from '../../gateway/cli/session-table.ts';
import { eventually } from '../support/waiting.ts';
import { type Scene, scenes } from './scenes.ts';
import { buildStage, type Stage } from './stage.ts';

/** Colour on a terminal only; `styleText` asks the stream. */
const paint = (style: Parameters<typeof styleText>[0], text: string) =>
  styleText(style, text, { stream: process.stdout });

const show = (text = '') => process.stdout.write(`${text}\n`);
const indent = (text: string) => text.trimEnd().replaceAll(/^/gm, '    ');

/** Plays one scene and shows it; true when it went as it must. */
async function play(scene: Scene, number: number, stage: Stage): Promise<boolean> {
  show(paint('bold', `${number}. ${scene.title}`));
  try {
    const lines = await scene.play(stage);
    for (const line of lines) show(`   ${paint(scene.verdict === 'allow' ? 'green' : 'yellow', line)}`);
    return true;
  } catch (error) {
    show(paint('red', `   not as expected: ${(error as Error).message}`));
    return false;
  }
}

/** One record for each scene, in order, each with the verdict the scene is about. */
async function checkRecords(stage: Stage): Promise<boolean> {
  const sessions = () => stage.gateway.records().filter(record => record.event === 'session');
  try {
    await eventually(() => sessions().length >= scenes.length || undefined, `${scenes.length} records`);
    const verdicts = sessions().map(record => record.decision?.verdict);
    assert.deepEqual(verdicts.toSorted(), scenes.map(scene => scene.verdict).toSorted());
    return true;
  } catch (error) {
    show(paint('red', `the records are not as expected: ${(error as Error).message}`));
    return false;
  }
}

async function perform(stage: Stage): Promise<boolean> {
  show(paint('bold', 'Sallyport demo: everything on loopback, nothing leaves this machine.'));
  show(`\n${paint('bold', 'The policies')}\n${indent(stage.policies)}\n`);
  let asExpected = 0;
  for (const [i, scene] of scenes.entries()) asExpected += Number(await play(scene, i + 1, stage));
  const recorded = await checkRecords(stage);
  show(`\n${paint('bold', 'The records')}`);
  const records = stage.gateway.records().map(record => ({ ...record }));
  show(formatSessions(records, { colour: process.stdout.isTTY === true }));
  show(`${asExpected} of ${scenes.length} outcomes as expected.`);
  return recorded && asExpected === scenes.length;
}

const stage = await buildStage();
try {
  process.exitCode = (await perform(stage)) ? 0 : 1;
} finally {
  await stage.close();
}
