import { checkFields, checkTile } from './check.js';
import { type Head, mapHeads, scoreTile, tileAt } from './heads.js';
import { Machine, type MachineOptions } from './machine.js';
import { addScaled, zeros } from './matrix.js';
import { type AttentionState, mergeStates } from './merge.js';
import type { ReferenceProblem, ReferenceResult } from './problem.js';
import { safeSoftmax } from './safe-softmax.js';

export interface FlashDecodingOptions extends MachineOptions {
  /**
   * Pieces the keys are cut into. Default 4. More than there are keys is allowed: some pieces are
   * empty.
   */
  readonly numSplits?: number;
}

/** Attention of all queries of a head over the keys `from` to `to - 1` only. */
function attendSplit(head: Head, from: number, to: number, machine: Machine): AttentionState {
  const { q } = head;
  const k = head.k.slice(from, to);
  const v = head.v.slice(from, to);
  machine.load(0, { Q: q });
  machine.load(from, { K: k, V: v });
  const s = scoreTile(head, q, k, 0, from);
  const out = zeros(q.length, head.headDimV);
  const lse = new Float64Array(q.length);
  for (let i = 0; i < q.length; i++) {
    const softmax = safeSoftmax(s[i]);
    lse[i] = softmax.lse;
    for (let j = 0; j < k.length; j++) {
      if (s[i][j] === -Infinity) continue; // a masked value is left out, not multiplied by 0
      addScaled(out[i], softmax.p[j] * head.keep(i, from + j), v[j]);
    }
  }
  machine.compute(tileAt(head, 0, q.length, from, k.length), { S: s, lse, O: out });
  machine.store(0, { O: out, lse });
  machine.free();
  return { out, lse };
}

/**
 * Attention with the keys split over workers ("split-KV").
 *
 * When a model generates text there is one query per sequence and a long cache of keys. Tiles of
 * queries would leave all but a few processors idle, so the keys are cut instead: every piece gives
 * an output and its lse, as if its keys were all there are, and a short second step merges the
 * pieces exactly.
 *
 * Dao, Haziza, Massa and Sizov, "Flash-Decoding for long-context inference", 2023 (PyTorch and
 * Stanford CRFM blogs).
 *
 * Traffic per head, for N queries and Nk keys and values of length d, with s splits:
 *
 *     loads  = s N d + 2 Nk d + s N (d + 1)   Q once per split; K and V once; the pieces' O and lse
 *     stores = (s + 1) N (d + 1)              O and lse of every piece, and of the whole
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function flashDecoding(
  problem: ReferenceProblem,
  options: FlashDecodingOptions = {},
): ReferenceResult {
  checkFields('options', options, ['numSplits', 'io', 'trace']);
  const { numSplits = 4 } = options;
  checkTile('numSplits', numSplits);
  const machine = new Machine(options);

  return mapHeads(problem, (head) => {
    machine.head(head.place);
    const length = Math.ceil(head.k.length / numSplits);

    // 1. Each on its own; on a GPU these run at the same time.
    const states: AttentionState[] = [];
    for (let split = 0; split < numSplits; split++) {
      states.push(attendSplit(head, split * length, (split + 1) * length, machine));
    }

    // 2. The merge, in any order
    for (const { out, lse } of states) machine.load(0, { O: out, lse });

    // A sink is a key with the value 0: one more state, whose output is 0 and whose lse is the
    // sink's logit.
    const N = head.q.length;
    states.push({ out: zeros(N, head.headDimV), lse: new Float64Array(N).fill(head.sink) });

    const merged = states.reduce(mergeStates);
    machine.compute(tileAt(head, 0, N, head.k.length, 0), { lse: merged.lse, O: merged.out });
    machine.store(0, { O: merged.out, lse: merged.lse });
    machine.free();
    return merged;
  });
}
