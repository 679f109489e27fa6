// The code in documents.
import { readFileSync } from 'node:fs';

export interface CodeBlock {
  /** What stands behind the fence; empty where nothing does. */
  readonly language: string;
  readonly code: string;
  /** The line of the document that it begins at. */
  readonly line: number;
  /** What it prints, where a block of `text` follows it at once. */
  readonly output?: string;
}

const fence = /^```(\w*)\n([\s\S]*?)^```$/gm;

/** The fenced blocks of a document, in its order. */
export function codeBlocks(file: string): CodeBlock[] {
  const text = readFileSync(file, 'utf8');
  const found = [...text.matchAll(fence)];
  return found.map((match, i) => {
    const [whole, language, code] = match;
    const next = found.at(i + 1);
    const between = next && text.slice(match.index + whole.length, next.index);
    const output = next?.[1] === 'text' && between?.trim() === '' ? next[2] : undefined;
    return { language, code, line: text.slice(0, match.index).split('\n').length + 1, output };
  });
}
