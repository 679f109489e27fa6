import path from 'node:path';
import type { Start } from '../contestant.js';
import { importPeer } from '../peers.js';

/** What we use of transformers.js. */
interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly AutoModelForCausalLM: {
    from_pretrained(name: string, options: object): Promise<Model>;
  };
  readonly Tensor: new (type: 'int64', data: BigInt64Array, dims: number[]) => unknown;
}

interface Model {
  generate(options: object): Promise<unknown>;
  dispose(): Promise<unknown>;
}

/** transformers.js with its own generation loop, a call of it for each request. */
export const startTransformers: Start = async ({ model: { folder }, threads, newTokens }) => {
  const { env, AutoModelForCausalLM, Tensor } = await importPeer<Transformers>('transformers');
  env.allowRemoteModels = false;
  env.localModelPath = path.dirname(folder);
  const model = await AutoModelForCausalLM.from_pretrained(path.basename(folder), {
    dtype: 'q4',
    local_files_only: true,
    session_options: { intraOpNumThreads: threads },
  });
  return {
    async answer(prompt, told) {
      const tokens: number[] = [];
      const { length } = prompt;
      let isPrompt = true;
      await model.generate({
        inputs: new Tensor('int64', BigInt64Array.from(prompt, BigInt), [1, length]),
        attention_mask: new Tensor('int64', new BigInt64Array(length).fill(1n), [1, length]),
        max_new_tokens: newTokens,
        ...{ do_sample: false, temperature: 1, top_k: 0, top_p: 1, repetition_penalty: 1 },
        eos_token_id: null,
        streamer: {
          put([row]: [bigint[]]) {
            if (!isPrompt) {
              tokens.push(Number(row[0]));
              told();
            }
            isPrompt = false;
          },
          end() {},
        },
      });
      return tokens;
    },
    close: async () => void (await model.dispose()),
  };
};
