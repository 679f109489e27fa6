// The grammar thread: matchers of answers, one message after the other. A schema that takes long,
// or that ends the thread, costs the model nothing.
import { parentPort, workerData } from 'node:worker_threads';
import { loadModelText } from '../model/model-text.js';
import { GrammarCompiler } from './compiler.js';
import { Matcher, Whitespace } from './matcher.js';
import type { FromGrammar, GrammarThreadData, ToGrammar } from './protocol.js';

const data = workerData as GrammarThreadData;
const { vocabulary } = await loadModelText(data.folder);
const compiler = await GrammarCompiler.make(vocabulary, data);
const whitespace = new Whitespace(vocabulary, data.vocabSize);
const matchers = new Map<number, Matcher>();

async function answer(message: Exclude<ToGrammar, { type: 'close' }>): Promise<FromGrammar> {
  const { id } = message;
  try {
    if (message.type === 'open') {
      const grammar = await compiler.matcher(message.format);
      const matcher = new Matcher(grammar, whitespace, data.eosTokenIds);
      matchers.set(id, matcher);
      for (const token of message.tokens) matcher.accept(token);
    } else matchers.get(id)?.accept(message.token);
    const next = await matchers.get(id)?.next();
    if (next === undefined) throw new Error('There is no such matcher.');
    return { id, ...next };
  } catch (error) {
    // An abort: nothing is known of its memory now. The thread ends, and another is started.
    if (error instanceof Error && error.name === 'RuntimeError') throw error;
    return { id, failure: error instanceof Error ? error.message : String(error) };
  }
}

let last: Promise<void> = Promise.resolve();
parentPort?.on('message', (message: ToGrammar) => {
  last = last.then(async () => {
    if (message.type !== 'close') {
      const reply = await answer(message);
      parentPort?.postMessage(reply, 'mask' in reply ? [reply.mask.buffer as ArrayBuffer] : []);
    } else {
      matchers.get(message.id)?.dispose();
      matchers.delete(message.id);
    }
  });
});
