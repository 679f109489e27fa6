/**
 * The same sequences in one cache and over several parts, fed the same rows: what comes out of both
 * is compared at every layer. Free slots of the parts' caches are NaN from the start.
 */
import { tensor } from '../../lib/index.js';
import type { FloatDType } from '../../lib/tensor/host-tensor.js';
import {
  type CacheDType,
  type ContextAttentionOptions,
  type ContextCut,
  ContextParallel,
  ContextPart,
  type ContextRows,
  type ContextSequence,
  type ContextTransport,
  inProcessTransport,
  KvCache,
  type PartState,
  type Sequence,
} from '../../lib/serving/index.js';
import { sized } from './device.js';
import { uniform } from './random.js';

const { abs, max } = Math; // once: see random.ts

export interface MachineShape {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly headDimV: number;
  readonly pageSize: number;
}

export const smallShape: MachineShape = {
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  headDimV: 4,
  pageSize: 4,
};

/** A sequence, twice. */
export interface Twin {
  readonly alone: Sequence;
  readonly apart: ContextSequence;
}

export interface TwinFeed {
  readonly twin: Twin;
  readonly tokens: number;
}

type Rows = [q: Float32Array, k: Float32Array, v: Float32Array];
type ContextMachineRows = readonly [q: ContextRows, k: ContextRows, v: ContextRows];

/** Replies of parts are compared with those of one machine up to this: float32, twice rounded. */
export const tolerance = 2e-5;

export interface MachineOptions {
  readonly dtype?: CacheDType;
  readonly shape?: MachineShape;
  readonly numPages?: number;
  readonly timeoutMs?: number;
  readonly replyDType?: FloatDType;
  /** What stands between the caller and the parts. */
  readonly transport?: (parts: readonly ContextPart[]) => ContextTransport;
}

export class ContextMachines {
  readonly shape: MachineShape;
  readonly cache: KvCache;
  readonly caches: readonly KvCache[];
  readonly parts: ContextPart[];
  readonly context: ContextParallel;
  readonly #random = uniform(17);

  constructor(cut: ContextCut, options: MachineOptions = {}) {
    const { shape = smallShape, dtype = 'float32', numPages = sized(64, 24) } = options;
    const { timeoutMs = 60_000, replyDType } = options; // longer than on a busy machine
    const { heads: _, ...cached } = shape;
    const cache = (of: KvCacheDetails) => new KvCache({ ...cached, dtype, ...of });
    this.shape = shape;
    this.cache = cache({ numPages: numPages * cut.parts });
    this.caches = Array.from({ length: cut.parts }, () => cache({ numPages }));
    for (const each of this.caches) flood(each, shape);
    this.parts = this.caches.map((each, part) => new ContextPart(each, { ...cut, part }));
    const transport = (options.transport ?? inProcessTransport)(this.parts);
    const { layers, kvHeads, headDim, headDimV } = shape;
    const of = { layers, kvHeads, headDim, headDimV, timeoutMs, replyDType };
    this.context = new ContextParallel({ cut, transport, ...of });
  }

  create(): Twin {
    return { alone: this.cache.createSequence(), apart: this.context.createSequence() };
  }

  async fork({ alone, apart }: Twin): Promise<Twin> {
    return { alone: alone.fork(), apart: await apart.fork() };
  }

  truncate({ alone, apart }: Twin, length: number): void {
    alone.truncate(length);
    apart.truncate(length);
  }

  async end(...twins: readonly Twin[]): Promise<void> {
    for (const { alone, apart } of twins) {
      alone.dispose();
      await apart.dispose();
    }
  }

  /** Random rows of so many tokens. */
  rows(total: number): Rows {
    const { heads, kvHeads, headDim, headDimV } = this.shape;
    const numbers = (count: number) =>
      Float32Array.from({ length: total * count }, () => 4 * this.#random() - 2);
    return [numbers(heads * headDim), numbers(kvHeads * headDim), numbers(kvHeads * headDimV)];
  }

  /** All layers over several parts. */
  async apart(
    feeds: readonly { readonly apart: ContextSequence; readonly tokens: number }[],
    rows: readonly ContextMachineRows[],
    options: ContextAttentionOptions,
    accept?: readonly number[],
  ): Promise<PartState[]> {
    using step = this.context.step(
      feeds.map(({ apart: sequence, tokens }) => ({ sequence, tokens })),
    );
    const states: PartState[] = [];
    for (const [layer, of] of rows.entries()) {
      states.push(await step.attention(layer, ...of, { ...options, returnLse: true }));
    }
    step.commit({ accept });
    return states;
  }

  /** A step in both, compared; what both give for the layers over several parts. */
  async feed(
    feeds: readonly TwinFeed[],
    options: ContextAttentionOptions = {},
    accept?: readonly number[],
  ): Promise<PartState[]> {
    const { layers, heads, kvHeads, headDim, headDimV } = this.shape;
    const total = feeds.reduce((sum, { tokens }) => sum + tokens, 0);
    const rows = Array.from({ length: layers }, () => this.rows(total));
    const entries = feeds.map(({ twin, tokens }) => ({ apart: twin.apart, tokens }));
    const apart = await this.apart(entries, rows, options, accept);
    const { sinks, alibiSlopes, ...same } = options;
    using sinksTensor = sinks && tensor(Float32Array.from(sinks), [heads]);
    using slopes = alibiSlopes && tensor(Float32Array.from(alibiSlopes), [heads]);
    using step = this.cache.step(
      feeds.map(({ twin, tokens }) => ({ sequence: twin.alone, tokens })),
    );
    for (const [layer, [q, k, v]] of rows.entries()) {
      using qRows = tensor(q, [total, heads, headDim]);
      using kRows = tensor(k, [total, kvHeads, headDim]);
      using vRows = tensor(v, [total, kvHeads, headDimV]);
      const alone = step.attention(layer, qRows, kRows, vRows, {
        ...same,
        sinks: sinksTensor,
        alibiSlopes: slopes,
        returnLse: true,
      });
      const [out, lse] = await Promise.all([alone.out.take(), alone.lse.take()]);
      expect(furthest(apart[layer].out, out)).toBeLessThan(tolerance);
      expect(furthest(apart[layer].lse, lse)).toBeLessThan(tolerance);
    }
    step.commit({ accept });
    for (const { twin } of feeds) expect(twin.apart.length).toBe(twin.alone.length);
    return apart;
  }
}

interface KvCacheDetails {
  readonly numPages: number;
}

/** The greatest distance, where infinities are equal or infinitely far apart. */
export function furthest(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue;
    const distance = abs(a[i] - b[i]);
    if (Number.isNaN(distance)) return Infinity;
    most = max(most, distance);
  }
  return most;
}

/** NaN into every slot. */
function flood(
  cache: KvCache,
  { layers, heads, kvHeads, headDim, headDimV, pageSize }: MachineShape,
) {
  const tokens = Math.min(cache.stats().free * pageSize, 4096);
  using sequence = cache.createSequence();
  using step = cache.step([{ sequence, tokens }]);
  const nan = (count: number, dim: number) => {
    return tensor(new Float32Array(tokens * count * dim).fill(Number.NaN), [tokens, count, dim]);
  };
  using q = nan(heads, headDim);
  using k = nan(kvHeads, headDim);
  using v = nan(kvHeads, headDimV);
  for (let layer = 0; layer < layers; layer++) step.attention(layer, q, k, v).dispose();
}
