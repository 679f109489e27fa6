import { readFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import type * as Library from '@mlc-ai/web-xgrammar';

export type XGrammar = typeof Library;

const filename = createRequire(import.meta.url).resolve('@mlc-ai/web-xgrammar');

/**
 * A copy of XGrammar (Dong et al. 2024, arXiv 2411.15100) with a memory of its own: what is wrong
 * with a schema aborts a copy, and nothing is known of its memory after that.
 *
 * The package is CommonJS in a file that its package.json declares to be a module, so that neither
 * import nor require loads it.
 *
 * @param print gets the lines that it would print.
 */
export async function newXGrammar(print: (line: string) => void): Promise<XGrammar> {
  const module = new Module(filename) as Module & {
    _compile(source: string, filename: string): void;
  };
  module._compile(readFileSync(filename, 'utf8'), filename);
  const xgrammar = module.exports as XGrammar;
  const printed = console.error;
  console.error = print; // which it takes for good when it is first used
  try {
    const grammar = await xgrammar.Grammar.builtinJSONGrammar();
    grammar.dispose();
  } finally {
    console.error = printed;
  }
  return xgrammar;
}
