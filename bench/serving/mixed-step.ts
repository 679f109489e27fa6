import type { Context } from '../context.js';
import { ours, type Row } from '../row.js';
import {
  cacheDTypes,
  cacheFor,
  disposeRows,
  fill,
  filledNumbers,
  filledToken,
  rowAt,
  rowsBetween,
  rowsOf,
} from './filled-cache.js';
import { type Contender, decode, numbersOf, race, stepContender } from './race.js';
import { TokensOracle } from './tokens-oracle.js';

/** A chunk of a prompt beside decoding, in one step and in two. */
export async function mixed(context: Context): Promise<Row[]> {
  const [dtype] = cacheDTypes;
  const { quick } = context.choice;
  const [decoding, keys, chunk] = quick ? [7, 1024, 128] : [31, 4096, 512];
  const cache = cacheFor((decoding + 1) * (keys + chunk), { layers: 1, dtype });
  const sequences = Array.from({ length: decoding + 1 }, () => cache.createSequence());
  fill(cache, sequences, keys, { layers: 1, dtype });
  const [prompt, ...others] = sequences;
  const chunked = [{ sequence: prompt, tokens: chunk }];
  const decodes = others.map((sequence) => ({ sequence, tokens: 1 }));
  const total = chunk + decoding;
  const all = rowsOf(total, dtype);
  const [first, rest] = [rowsBetween(all, 0, chunk), rowsBetween(all, chunk, total)];
  const filled = await filledNumbers(dtype);
  const [q, k, v] = await Promise.all([all.q, all.k, all.v].map(numbersOf));
  const oracle = new TokensOracle(q, (token) => {
    const begin = token < chunk ? 0 : token; // of the rows of its sequence
    return {
      keys: keys + token - begin + 1,
      rowsOf: (key, head) =>
        key < keys
          ? rowAt(filled, filledToken(key), head)
          : rowAt({ k, v }, begin + key - keys, head),
    };
  });
  const contestants: Contender[] = [
    stepContender(`${ours}: in one step`, dtype, cache, [...chunked, ...decodes], 1, all),
    {
      name: `${ours}: the chunk, then the others`,
      dtype,
      async call() {
        await decode(cache, chunked, 1, first);
        await decode(cache, decodes, 1, rest);
      },
      async result() {
        const parts = [
          await decode(cache, chunked, 1, first, {}, numbersOf),
          await decode(cache, decodes, 1, rest, {}, numbersOf),
        ] as Float32Array[];
        return Float32Array.from(parts.flatMap((part) => [...part]));
      },
    },
  ];
  try {
    const group = `a chunk of ${chunk} beside ${decoding} that decode, a layer`;
    return await race(context, { group, x: keys }, oracle, contestants);
  } finally {
    for (const each of [all, first, rest]) disposeRows(each);
    cache.dispose();
  }
}
