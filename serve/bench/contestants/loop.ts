import { InferenceSession } from 'onnxruntime-node';
import type { Start } from '../contestant.js';
import { cacheNames, nextTokens, noCache, oneRow, ones } from './whole-graph.js';

/**
 * onnxruntime-node as most write it: one sequence a call, and what a run returns as present is the
 * next run's past. Answers under way take turns.
 */
export const startLoop: Start = async ({ model, threads, newTokens }) => {
  const session = await InferenceSession.create(model.graph, { intraOpNumThreads: threads });
  return {
    async answer(prompt, told) {
      const tokens: number[] = [];
      let past = noCache();
      let input: ArrayLike<number> = prompt;
      while (tokens.length < newTokens) {
        const result = await session.run({
          input_ids: oneRow(input),
          attention_mask: ones(1, prompt.length + tokens.length),
          ...past,
        });
        input = nextTokens(result.logits);
        tokens.push(input[0]);
        told();
        past = Object.fromEntries(cacheNames.map((n) => [n.past, result[n.present]]));
      }
      return tokens;
    },
    close: () => session.release(),
  };
};
