import type * as Library from '@mlc-ai/web-xgrammar';
import type { ResponseFormat } from '../engine/contract.js';
import type { Vocabulary } from '../text/contract.js';
import type { GrammarThreadData } from './protocol.js';
import { newXGrammar, type XGrammar } from './xgrammar.js';

/** Grammars that are kept, the latest ones used. */
const mostKept = 16;

/** Makes grammars of response formats, for the tokens of one model. */
export class GrammarCompiler {
  readonly #xgrammar: XGrammar;
  readonly #compiler: Library.GrammarCompiler;
  /** Only parses: a schema that is wrong aborts it, and it is replaced. */
  #checker?: XGrammar;
  readonly #printed: string[] = [];
  readonly #kept = new Map<string, Library.CompiledGrammar>();

  private constructor(xgrammar: XGrammar, compiler: Library.GrammarCompiler) {
    this.#xgrammar = xgrammar;
    this.#compiler = compiler;
  }

  static async make(vocabulary: Vocabulary, data: GrammarThreadData): Promise<GrammarCompiler> {
    const xgrammar = await newXGrammar(console.error);
    // Tokens without bytes are never allowed, unless they end the answer.
    const tokens = Array.from({ length: vocabulary.size }, (_, id) =>
      vocabulary.isSpecial(id) ? new Uint8Array() : vocabulary.bytes(id),
    );
    const info = await xgrammar.TokenizerInfo.createTokenizerInfo(
      tokens as unknown as string[], // bytes cross as they are
      'raw',
      false,
      data.vocabSize,
      data.eosTokenIds as number[],
    );
    // What it keeps itself it never lets go.
    const compiler = await xgrammar.GrammarCompiler.createGrammarCompiler(info, false);
    return new GrammarCompiler(xgrammar, compiler);
  }

  /** @throws Error that says what is wrong with the schema. */
  async matcher(format: ResponseFormat): Promise<Library.GrammarMatcher> {
    const grammar = await this.#compiled(format);
    return this.#xgrammar.GrammarMatcher.createGrammarMatcher(grammar);
  }

  async #compiled(format: ResponseFormat): Promise<Library.CompiledGrammar> {
    const { schema, strict } = schemaOf(format);
    const key = `${strict} ${schema}`;
    let grammar = this.#kept.get(key);
    if (grammar === undefined) {
      await this.#check(schema, strict);
      grammar = await this.#compiler.compileJSONSchema(schema, true, -1, undefined, strict);
    }
    this.#kept.delete(key);
    this.#kept.set(key, grammar);
    if (this.#kept.size > mostKept) {
      const [[oldest, unused]] = this.#kept;
      this.#kept.delete(oldest);
      unused.dispose();
    }
    return grammar;
  }

  async #check(schema: string, strict: boolean): Promise<void> {
    this.#checker ??= await newXGrammar((line) => this.#printed.push(line));
    this.#printed.length = 0;
    try {
      const { Grammar } = this.#checker;
      const grammar = await Grammar.fromJSONSchema(schema, true, -1, undefined, strict);
      grammar.dispose();
    } catch {
      this.#checker = undefined;
      throw new Error(reasonIn(this.#printed));
    }
  }
}

/** Objects of json_object have what properties they like; those of a schema have its own. */
function schemaOf(format: ResponseFormat): { schema: string; strict: boolean } {
  if (format.type !== 'json_schema') return { schema: '{"type":"object"}', strict: false };
  return { schema: JSON.stringify(format.schema), strict: true };
}

/** XGrammar says `[FATAL] file:line: reason` before it aborts. */
function reasonIn(lines: readonly string[]): string {
  const fatal = lines.find((line) => line.startsWith('[FATAL]'));
  const reason = fatal
    ?.replace(/^\[FATAL\] \S+ /, '')
    .replace(/^Check failed: \(.*?\) is false: /, '');
  return `The schema can't be used${reason ? `: ${reason.slice(0, 300)}` : ''}`;
}
