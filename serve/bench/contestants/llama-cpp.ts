import type { Start } from '../contestant.js';
import { importPeer } from '../peers.js';

/** What we use of node-llama-cpp. */
interface LlamaCpp {
  getLlama(options: object): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options: object): Promise<{ getSequence(): Sequence }>;
    }>;
    dispose(): Promise<void>;
  }>;
}

interface Sequence {
  readonly nextTokenIndex: number;
  /** Keeps what the new tokens begin with. */
  adaptStateToTokens(tokens: number[], allowShift: boolean): Promise<void>;
  evaluate(tokens: number[], options: object): AsyncGenerator<number>;
}

/**
 * llama.cpp by node-llama-cpp, which batches its sequences. A sequence keeps what it has read, for a
 * prompt that begins with the same. The cache is float16, as is usual there.
 */
export const startLlamaCpp: Start = async (given) => {
  const { model: files, threads, concurrency, context, newTokens } = given;
  const { getLlama } = await importPeer<LlamaCpp>('llama-cpp');
  const offline = { build: 'never', skipDownload: true, progressLogs: false };
  const llama = await getLlama({ ...offline, gpu: false, maxThreads: threads, logLevel: 'fatal' });
  const model = await llama.loadModel({ modelPath: files.gguf });
  const options = { sequences: concurrency, threads, batchSize: 512 };
  const made = await model.createContext({ ...options, contextSize: context + newTokens + 1 });
  const free = Array.from({ length: concurrency }, () => made.getSequence());
  const waiting: ((sequence: Sequence) => void)[] = [];
  return {
    async answer(prompt, told) {
      const sequence = free.shift() ?? (await new Promise<Sequence>((to) => waiting.push(to)));
      const tokens: number[] = [];
      // The last one has to be read again: what follows it is what is asked for.
      await sequence.adaptStateToTokens(Array.from(prompt.subarray(0, -1)), false);
      const rest = Array.from(prompt.subarray(sequence.nextTokenIndex));
      const evaluation = { temperature: 0, yieldEogToken: true };
      for await (const token of sequence.evaluate(rest, evaluation)) {
        tokens.push(token);
        told();
        if (tokens.length === newTokens) break;
      }
      const next = waiting.shift();
      if (next) next(sequence);
      else free.unshift(sequence);
      return tokens;
    },
    close: () => llama.dispose(),
  };
};
