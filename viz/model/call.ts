// A call that `flash-attention explain --json` or `run --json` described, or a bare plan of
// `explain()`.
import type { Plan } from '../../lib/native/plan.js';

/** What the tiles can be drawn from. */
export interface CallShape {
  readonly batch: number;
  readonly seqlenQ: number;
  readonly seqlenK: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: string;
  readonly causal: boolean;
  /** Keys kept before and after the diagonal. */
  readonly window: readonly [left: number, right: number];
  readonly sinkTokens: number;
}

export interface Call {
  readonly plan: Plan;
  readonly shape?: CallShape;
  /** Why there is no shape to draw tiles from. */
  readonly missing?: string;
}

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const planNumbers = [
  ...['tileQ', 'tileK', 'packedHeads', 'numSplits', 'workItems', 'tilesFull', 'tilesPartial'],
  ...['tilesSkipped', 'flops', 'bytes', 'standardBytes', 'standardMemory', 'scratchBytes'],
  ...['threads', 'panels', 'blockRows', 'stages'],
] as const;

const isCount = (value: unknown): value is number =>
  Number.isFinite(value) && (value as number) >= 0;
const isSize = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) > 0;

function planOf(value: Json): Plan {
  for (const name of planNumbers) {
    if (!isCount(value[name])) {
      throw new Error(`Expected the plan's ${name} to be a number but found ${show(value[name])}.`);
    }
  }
  for (const name of ['tileQ', 'tileK', 'blockRows', 'packedHeads'] as const) {
    if (!isSize(value[name])) {
      throw new Error(
        `Expected the plan's ${name} to be at least 1 but found ${show(value[name])}.`,
      );
    }
  }
  for (const name of ['device', 'kernel', 'isa'] as const) {
    if (typeof value[name] !== 'string') {
      throw new Error(`Expected the plan's ${name} to be a text but found ${show(value[name])}.`);
    }
  }
  return value as unknown as Plan;
}

const show = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value));

/** Reads the text of a file. Throws an Error that says what was expected. */
export function readCall(text: string): Call {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is no JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw new Error('Expected a JSON object, as explain --json prints it.');
  if (!isObject(value.plan)) {
    if (!('kernel' in value)) {
      throw new Error('Expected an object with a plan, as explain --json prints it.');
    }
    const missing =
      'It is a plan alone: the shapes and options that tiles are drawn from are not in it.';
    return { plan: planOf(value), missing };
  }
  const plan = planOf(value.plan);
  const shape = shapeOf(value);
  return typeof shape === 'string' ? { plan, missing: shape } : { plan, shape };
}

/** Options that change which pairs are visible in ways that the plan does not say. */
const undrawable = ['mask', 'blockMask', 'seqlensK', 'cuSeqlensQ', 'cuSeqlensK', 'pageTable'];

function shapeOf({ q, k, options = {} }: Json): CallShape | string {
  if (!isObject(options)) return 'Its options are no object.';
  const hidden = undrawable.filter((name) => name in options);
  if (hidden.length > 0) {
    return `Its option ${hidden[0]} hides pairs that the plan counts but does not list.`;
  }
  const [queries, keys] = [sizesOf(q), sizesOf(k)];
  if (!isObject(q) || !queries || !keys) return 'The shapes of q and k are not in it.';
  const isBhsd = options.layout === 'bhsd';
  const [seqlen, heads] = isBhsd ? [2, 1] : [1, 2];
  const bounds = Array.isArray(options.window) ? options.window.map(bound) : [Infinity, Infinity];
  if (bounds.length !== 2 || bounds.some(Number.isNaN)) return 'Its window is no pair of numbers.';
  const causal = options.causal === true;
  return {
    batch: queries[0],
    seqlenQ: queries[seqlen],
    seqlenK: keys[seqlen],
    heads: queries[heads],
    kvHeads: keys[heads],
    headDim: queries[3],
    dtype: String(q.dtype),
    causal,
    window: [bounds[0], causal ? Math.min(bounds[1], 0) : bounds[1]],
    sinkTokens: isCount(options.sinkTokens) ? options.sinkTokens : 0,
  };
}

/** A bound of a window; JSON has no infinity, and holds it as a text. */
const bound = (value: unknown) => (value === 'Infinity' ? Infinity : Number(value ?? Number.NaN));

function sizesOf(value: unknown): number[] | undefined {
  if (!isObject(value) || !Array.isArray(value.shape)) return undefined;
  const { shape } = value;
  return shape.length === 4 && shape.every(isSize) ? shape : undefined;
}
