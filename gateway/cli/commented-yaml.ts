// Objects with comments as YAML text for people and for kubectl apply. It chooses no words.

import { Document, isMap, isNode, isScalar, type Node } from 'yaml';
import type { CommentedObject } from '../../config/lockdown.ts';

const lineWidth = 100;

/** One document, its separator first and its last line ended. */
export function commentedYaml({ object, comments }: CommentedObject): string {
  const document = new Document(object, { aliasDuplicateObjects: false });
  for (const { path, text } of comments) commentAt(document, path, text);
  return `---\n${document.toString({ lineWidth: 0 })}`;
}

/** Before the key of a mapping, or the item of a sequence. Throws where there is none: the path is a mistake. */
function commentAt(document: Document, path: readonly (string | number)[], text: string): void {
  const part = path.length === 0 ? document.contents! : partAt(document, path);
  part.commentBefore = commentBefore(text, lineWidth - 2 * path.length);
}

function partAt(document: Document, path: readonly (string | number)[]): Node {
  const parent = document.getIn(path.slice(0, -1), true);
  const last = path.at(-1);
  const part = isMap(parent)
    ? parent.items.find(({ key }) => isScalar(key) && key.value === last)?.key
    : document.getIn(path, true);
  if (isNode(part)) return part;
  throw new Error(`nothing to comment at ${path.join('.')}`);
}

/** Lines of at most `width` characters, as `commentBefore` wants them: each without its `#`. */
function commentBefore(text: string, width: number): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1) ?? ''} ${word}`;
    if (lines.length > 0 && longer.length < width) lines[lines.length - 1] = longer;
    else lines.push(` ${word}`);
  }
  return lines.join('\n');
}
