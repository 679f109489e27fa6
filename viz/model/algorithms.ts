import {
  flashAttention1,
  flashAttention2,
  flashAttentionBackward,
  flashDecoding,
  type IoCounter,
  type MachineOptions,
  type ReferenceProblem,
  type Step,
  standardAttention,
  standardAttentionBackward,
} from '../../lib/reference/index.js';
import { normals, problemOf } from './problem.js';
import type { AlgorithmName, Settings } from './settings.js';

/** A line of an algorithm's loop. */
export interface Line {
  readonly text: string;
  /** The steps that this line is: `load:Q`, `compute:S`, `store:O`, `skip`. */
  readonly steps: readonly string[];
}

export interface Algorithm {
  readonly name: AlgorithmName;
  readonly title: string;
  readonly source: string;
  readonly lines: readonly Line[];
  /** What lies along the queries (left, right) and along the keys (above, below) of the picture. */
  readonly operands: Readonly<Record<'left' | 'right' | 'above' | 'below', readonly string[]>>;
}

const line = (text: string, ...steps: string[]): Line => ({ text, steps });
const forward = { left: ['Q'], right: ['O'], above: ['K'], below: ['V'] };

export const algorithms: Readonly<Record<AlgorithmName, Algorithm>> = {
  standard: {
    name: 'standard',
    title: 'Standard attention',
    source: 'Vaswani et al. 2017; algorithm 0 of Dao et al. 2022',
    operands: forward,
    lines: [
      line('load K', 'load:K'),
      line('for each query i:'),
      line('  load Qᵢ', 'load:Q'),
      line('  Sᵢ = Qᵢ Kᵀ / √d', 'compute:S'),
      line('  store Sᵢ', 'store:S'),
      line('for each query i:'),
      line('  load Sᵢ', 'load:S'),
      line('  Pᵢ = softmax(Sᵢ)', 'compute:P'),
      line('  store Pᵢ', 'store:P'),
      line('load V', 'load:V'),
      line('for each query i:'),
      line('  load Pᵢ', 'load:P'),
      line('  Oᵢ = Pᵢ V', 'compute:O'),
      line('  store Oᵢ', 'store:O'),
    ],
  },
  flash1: {
    name: 'flash1',
    title: 'FlashAttention',
    source: 'Dao et al. 2022, algorithm 1: keys outside, queries inside',
    operands: { ...forward, right: ['m', 'l', 'O'] },
    lines: [
      line('store O = 0, ℓ = 0, m = −∞', 'start'),
      line('for each tile of keys j:'),
      line('  load Kⱼ, Vⱼ', 'load:K'),
      line('  for each tile of queries i:'),
      line('    skip if no query sees a key', 'skip'),
      line('    load Qᵢ, Oᵢ, ℓᵢ, mᵢ', 'load:Q'),
      line('    S = Qᵢ Kⱼᵀ / √d; update m, ℓ, O', 'compute:S'),
      line('    store Oᵢ, ℓᵢ, mᵢ', 'store:O'),
    ],
  },
  flash2: {
    name: 'flash2',
    title: 'FlashAttention-2',
    source: 'Dao 2023, algorithm 1: queries outside, keys inside',
    operands: { ...forward, right: ['m', 'l', 'O'] },
    lines: [
      line('for each tile of queries i:'),
      line('  load Qᵢ;  O = 0, ℓ = 0, m = −∞', 'load:Q'),
      line('  for each tile of keys j:'),
      line('    skip if no query sees a key', 'skip'),
      line('    load Kⱼ, Vⱼ', 'load:K'),
      line('    S = Qᵢ Kⱼᵀ / √d; update m, ℓ, O', 'compute:S'),
      line('  O = O / ℓ;  lse = m + log ℓ', 'compute:O'),
      line('  store Oᵢ, lseᵢ', 'store:O'),
    ],
  },
  decoding: {
    name: 'decoding',
    title: 'Split-KV decoding',
    source: 'Dao, Haziza, Massa and Sizov 2023, Flash-Decoding',
    operands: { ...forward, right: ['lse', 'O'] },
    lines: [
      line('for each split, side by side:'),
      line('  load Q', 'load:Q'),
      line('  load its K, V', 'load:K'),
      line('  S = Q Kᵀ / √d;  O = softmax(S) V', 'compute:S'),
      line('  store its O, lse', 'store:split'),
      line('load O, lse of every split', 'load:O'),
      line('merge: weights e^(lseₛ − lse)', 'compute:lse'),
      line('store O, lse', 'store:merged'),
    ],
  },
  backward: {
    name: 'backward',
    title: 'Backward pass',
    source: 'Dao 2023, algorithm 2: the scores are computed again',
    operands: {
      left: ['Q', 'dO'],
      right: ['lse', 'delta', 'dQ'],
      above: ['dK', 'K'],
      below: ['V', 'dV'],
    },
    lines: [
      line('load O, dO;  δ = rowsum(dO ∘ O)', 'load:O'),
      line('store dQ = 0, δ', 'start'),
      line('for each tile of keys j:'),
      line('  load Kⱼ, Vⱼ;  dK = dV = 0', 'load:K'),
      line('  for each tile of queries i:'),
      line('    skip if no query sees a key', 'skip'),
      line('    load Qᵢ, dOᵢ, dQᵢ, lseᵢ, δᵢ', 'load:Q'),
      line('    P = e^(S−lse); add to dQ, dK, dV', 'compute:P'),
      line('    store dQᵢ', 'store:dQ'),
      line('  store dKⱼ, dVⱼ', 'store:dK'),
    ],
  },
};

/** A run of an algorithm of the reference on the problem of the controls. */
export interface Run {
  readonly algorithm: Algorithm;
  readonly problem: ReferenceProblem;
  /** The gradient of the output, where there is a backward pass. */
  readonly dOut?: Float64Array;
  readonly steps: readonly Step[];
  /** What the reference counted. */
  readonly io: IoCounter;
  /** What standard attention moves on the same problem: of forward passes only. */
  readonly standardIo?: IoCounter;
  /** Largest absolute difference of any element from what it is compared with. */
  readonly difference: number;
  readonly comparedWith: string;
}

const largestDifference = (a: Float64Array, b: Float64Array) =>
  a.reduce((most, x, at) => Math.max(most, x === b[at] ? 0 : Math.abs(x - b[at])), 0);

const forwardPasses: Record<
  Exclude<AlgorithmName, 'backward'>,
  (problem: ReferenceProblem, settings: Settings, machine: MachineOptions) => { out: Float64Array }
> = {
  standard: (problem, _, machine) => standardAttention(problem, machine),
  // Bc = M / 4d: the size of the SRAM is what the algorithm takes, and the controls say Bc.
  flash1: (problem, { blockK, d }, machine) =>
    flashAttention1(problem, { ...machine, sramSize: 4 * d * blockK }),
  flash2: (problem, { blockQ, blockK }, machine) =>
    flashAttention2(problem, { ...machine, blockQ, blockK }),
  decoding: (problem, { splits }, machine) =>
    flashDecoding(problem, { ...machine, numSplits: splits }),
};

export function runAlgorithm(settings: Settings): Run {
  const problem = problemOf(settings);
  const steps: Step[] = [];
  const io = { loads: 0, stores: 0 };
  const machine: MachineOptions = { io, trace: (step) => steps.push(step) };
  const algorithm = algorithms[settings.algorithm];
  const common = { algorithm, problem, steps, io };
  if (settings.algorithm === 'backward') {
    return { ...common, ...runBackward(problem, settings, machine) };
  }
  const { out } = forwardPasses[settings.algorithm](problem, settings, machine);
  const standardIo = { loads: 0, stores: 0 };
  const standard = standardAttention(problem, { io: standardIo });
  const isStandard = settings.algorithm === 'standard';
  const other = isStandard ? flashAttention2(problem) : standard;
  return {
    ...common,
    standardIo,
    difference: largestDifference(out, other.out),
    comparedWith: isStandard ? 'FlashAttention-2' : 'standard attention',
  };
}

function runBackward(
  problem: ReferenceProblem,
  { blockQ, blockK, seed }: Settings,
  machine: MachineOptions,
): Pick<Run, 'difference' | 'comparedWith' | 'dOut'> {
  const { out, lse } = standardAttention(problem);
  const dOut = normals(out.length, seed, 3);
  const tiles = { ...machine, blockQ, blockK };
  const ours = flashAttentionBackward(problem, { dOut, out, lse }, tiles);
  const theirs = standardAttentionBackward(problem, dOut);
  const differences = (['dq', 'dk', 'dv'] as const).map((name) =>
    largestDifference(ours[name], theirs[name]),
  );
  return {
    dOut,
    difference: Math.max(...differences),
    comparedWith: 'the gradients of standard attention',
  };
}
