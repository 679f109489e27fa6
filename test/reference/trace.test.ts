import {
  flashAttention1,
  flashAttention2,
  flashAttentionBackward,
  flashDecoding,
  type MachineOptions,
  memoryEfficientAttention,
  type ReferenceProblem,
  type Step,
  standardAttention,
  type Tile,
} from '../../lib/reference/index.js';
import { randomInputs, shapeOf } from './random-problem.js';

function backward(problem: ReferenceProblem, machine: MachineOptions) {
  const { out, lse } = standardAttention(problem);
  return flashAttentionBackward(
    problem,
    { dOut: out, out, lse },
    { ...machine, blockQ: 4, blockK: 3 },
  );
}

const algorithms: Record<string, (problem: ReferenceProblem, machine: MachineOptions) => unknown> =
  {
    standardAttention,
    memoryEfficientAttention: (problem, machine) =>
      memoryEfficientAttention(problem, { ...machine, queryChunkSize: 4, keyChunkSize: 3 }),
    flashAttention1: (problem, machine) => flashAttention1(problem, { ...machine, sramSize: 60 }),
    flashAttention2: (problem, machine) =>
      flashAttention2(problem, { ...machine, blockQ: 4, blockK: 3 }),
    flashDecoding: (problem, machine) => flashDecoding(problem, { ...machine, numSplits: 3 }),
    flashAttentionBackward: backward,
  };

const shape = shapeOf({ seqlenQ: 10, seqlenK: 13, heads: 2, kvHeads: 1, headDim: 5, headDimV: 4 });
const problem = randomInputs(shape, 1);

function traced(name: string, of: ReferenceProblem): Step[] {
  const steps: Step[] = [];
  algorithms[name](of, { trace: (step) => steps.push(step) });
  return steps;
}

const isTile = (step: Step): step is Step & { tile: Tile } =>
  step.kind === 'compute' || step.kind === 'skip';

/** How often each pair of the first head lies in a tile of the steps. */
function cover(steps: readonly Step[]): number[] {
  const counts = new Array<number>(10 * 13).fill(0);
  for (const { tile } of steps.filter(isTile)) {
    for (let i = tile.queries[0]; i < tile.queries[1]; i++) {
      for (let j = tile.keys[0]; j < tile.keys[1]; j++) counts[i * 13 + j]++;
    }
  }
  return counts;
}

/** The steps of each head. */
function byHead(steps: readonly Step[]): Step[][] {
  const heads: Step[][] = [];
  for (const step of steps) {
    if (step.kind === 'head') heads.push([]);
    else heads.at(-1)?.push(step);
  }
  return heads;
}

describe.each(Object.keys(algorithms))('the trace of %s', (name) => {
  it('moves what the counter says', () => {
    const io = { loads: 0, stores: 0 };
    const told = { loads: 0, stores: 0 };
    algorithms[name](problem, {
      io,
      trace: (step) => {
        if (step.kind !== 'load' && step.kind !== 'store') return;
        for (const count of Object.values(step.elements)) told[`${step.kind}s`] += count;
      },
    });
    expect(told.loads).toBeGreaterThan(0);
    expect(told).toEqual(io);
  });

  it('changes nothing in the result', () => {
    expect(algorithms[name](problem, { trace: () => undefined })).toEqual(
      algorithms[name](problem, {}),
    );
  });

  it('says which head it is about, one after the other', () => {
    const steps = traced(name, problem);
    const heads = steps.filter((step) => step.kind === 'head');
    expect(heads).toEqual([0, 1].map((head) => ({ kind: 'head', batch: 0, head, kvHead: 0 })));
    const [first, second] = byHead(steps);
    expect(second.map(({ kind }) => kind)).toEqual(first.map(({ kind }) => kind));
  });

  it('is of copies: what is computed later does not change what was told', () => {
    const texts: string[] = [];
    const steps: Step[] = [];
    algorithms[name](problem, {
      trace: (step) => {
        steps.push(step);
        texts.push(JSON.stringify(step));
      },
    });
    expect(steps.map((step) => JSON.stringify(step))).toEqual(texts);
  });

  it.each([
    ['trace', 5, 'Expected trace to be a function but received 5.'],
    ['io', null, 'Expected io to be an object { loads, stores } of numbers but received null.'],
  ])('refuses %s that is none', (option, value, message) => {
    const wrong = { [option]: value } as MachineOptions;
    expect(() => algorithms[name](problem, wrong)).toThrow(message);
  });

  it('leaves SRAM empty', () => {
    for (const steps of byHead(traced(name, problem))) expect(steps.at(-1)?.kind).toBe('free');
  });
});

describe('tiles', () => {
  const tiled = ['flashAttention1', 'flashAttention2', 'flashAttentionBackward'];

  it.each(tiled)('of %s hold every pair once, whether computed or skipped', (name) => {
    for (const options of [{}, { causal: true }, { window: [2, 1] }]) {
      for (const steps of byHead(traced(name, { ...problem, ...options }))) {
        expect(cover(steps)).toEqual(new Array(10 * 13).fill(1));
      }
    }
  });

  it.each(tiled)('of %s are skipped where no query sees a key, and only there', (name) => {
    const [steps] = byHead(traced(name, { ...problem, causal: true }));
    const sees = ({ queries, keys }: Tile) => keys[0] <= queries[1] - 1 + 3;
    const skipped = steps.filter((step) => step.kind === 'skip');
    expect(skipped.length).toBeGreaterThan(0);
    for (const step of steps.filter(isTile)) {
      if (step.tile.keys[0] === step.tile.keys[1]) continue; // queries are finished
      expect(step.kind === 'compute').toBe(sees(step.tile));
    }
  });

  it.each(tiled)('of %s that are skipped move nothing', (name) => {
    const io = { loads: 0, stores: 0 };
    const all = { loads: 0, stores: 0 };
    algorithms[name]({ ...problem, causal: true }, { io });
    algorithms[name](problem, { io: all });
    expect(io.loads).toBeLessThan(all.loads);
  });
});

it('FlashAttention-2 tells the running maximum, sum, output and what they were rescaled by', () => {
  const steps = traced('flashAttention2', { ...problem });
  const [head] = byHead(steps);
  const ofFirstRows = head.flatMap((step) =>
    step.kind === 'compute' && step.tile.queries[0] === 0 && 'S' in step.values
      ? [step.values]
      : [],
  );
  expect(ofFirstRows).toHaveLength(5);
  let m = -Infinity;
  for (const values of ofFirstRows) {
    const S = values.S as Float64Array[];
    const largest = Math.max(m, ...S[0]);
    expect(values.m[0]).toBe(largest);
    expect(values.rescale[0]).toBe(Math.exp(m - largest));
    m = largest;
  }
  const { out } = standardAttention(problem);
  const last = ofFirstRows[4];
  const O = last.O as Float64Array[];
  O[0].forEach((o, c) => {
    expect(o / (last.l[0] as number)).toBeCloseTo(out[c], 12);
  });
});

test('pieces without keys have ranges that lie within the problem', () => {
  const steps: Step[] = [];
  flashDecoding(problem, {
    numSplits: 2 * problem.shape.seqlenK,
    trace: (step) => steps.push(step),
  });
  const ends = steps.flatMap((step) => (step.kind === 'compute' ? [step.tile.keys] : []));
  expect(ends.length).toBeGreaterThan(2 * problem.shape.seqlenK);
  for (const [begin, end] of ends) {
    expect(begin).toBeLessThanOrEqual(end);
    expect(end).toBeLessThanOrEqual(problem.shape.seqlenK);
  }
});
