// The fenced blocks of a guide, as a test runs them: commands in order, each with the output that the guide shows below
// it. It runs nothing.
//
// The conventions:
//   ```sh                    commands
//   ```sh (not run here)     commands that need more than the test has; their first line is a comment that says what
//   ```text                  below commands: what they print. `…` in a line stands for any text, a line of `…` alone for
//                            any number of lines. Runs of blanks count as one.

export interface Block {
  /** Of the opening fence, from 1. */
  line: number;
  /** The nearest heading above. */
  section: string;
  commands: string;
  isRun: boolean;
  /** What the commands print; null where the guide shows nothing. */
  output: string | null;
}

const fence = /^```(\S*) ?(.*)$/;

interface Fenced {
  line: number;
  section: string;
  language: string;
  remark: string;
  text: string;
}

function fencedBlocks(markdown: string): Fenced[] {
  const blocks: Fenced[] = [];
  let section = '';
  let open: Fenced | null = null;
  for (const [at, line] of markdown.split('\n').entries()) {
    if (open !== null) {
      if (line === '```') open = null;
      else open.text += `${line}\n`;
      continue;
    }
    const [, heading] = /^#+ (.*)$/.exec(line) ?? [];
    section = heading ?? section;
    const [, language, remark] = fence.exec(line) ?? [];
    if (language === undefined) continue;
    open = { line: at + 1, section, language, remark: remark ?? '', text: '' };
    blocks.push(open);
  }
  if (open !== null) throw new Error(`line ${open.line}: the block has no end`);
  return blocks;
}

/** @throws Error naming a block that is neither commands nor their output */
export function guideBlocks(markdown: string): Block[] {
  const blocks: Block[] = [];
  for (const { line, section, language, remark, text } of fencedBlocks(markdown)) {
    if (language === 'sh' && (remark === '' || remark === '(not run here)')) {
      blocks.push({ line, section, commands: text, isRun: remark === '', output: null });
      continue;
    }
    const above = blocks.at(-1);
    if (language !== 'text' || above === undefined || above.output !== null)
      throw new Error(`line ${line}: \`\`\`${language} ${remark} is neither commands nor their output`);
    above.output = text;
  }
  return blocks;
}

const linesOf = (text: string) =>
  text
    .split('\n')
    .map(line => line.replaceAll(/\s+/g, ' ').trim())
    .filter(line => line !== '');

const escaped = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

const patternOf = (line: string) => new RegExp(`^${line.split('…').map(escaped).join('.*')}$`);

/** Whether the lines printed are those that the guide shows. */
export function isAsShown(shown: string, printed: string): boolean {
  const wanted = linesOf(shown);
  const lines = linesOf(printed);
  const fits = (at: number, from: number): boolean => {
    if (at === wanted.length) return from === lines.length;
    if (wanted[at] !== '…')
      return from < lines.length && patternOf(wanted[at]!).test(lines[from]!) && fits(at + 1, from + 1);
    return Array.from({ length: lines.length - from + 1 }).some((_, skipped) => fits(at + 1, from + skipped));
  };
  return fits(0, 0);
}

/** Commands that change something; whatever else is in a block can be asked again until it answers as shown. */
const changes =
  /\b(kubectl|helm)\b[^|\n]*? (apply|create|delete|label|annotate|run|patch|replace|set|scale|restart|install|upgrade|uninstall|test)\b/;

export const canBeAskedAgain = ({ commands }: Block) => !changes.test(commands);
