// The same tokens decoded by one process and over several.
import { tensor } from 'flash-attention';
import {
  type ContextCut,
  ContextParallel,
  type ContextRows,
  type ContextSequence,
  KvCache,
  type Sequence,
} from 'flash-attention/serving';
import type { CountedTransport } from './counted.js';
import type { ContextBenchOptions } from './options.js';

/** Times of a way to decode, in milliseconds. */
export interface Times {
  readonly layers: number[];
  readonly tokens: number[];
}

/** What was sent for each layer, on the mean. */
export interface Traffic {
  readonly messages: number;
  readonly sent: number;
  readonly received: number;
}

export interface Moved {
  readonly tokens: number;
  readonly bytes: number;
  readonly milliseconds: number;
}

export interface Measured {
  readonly alone: Times;
  readonly apart: Times & Traffic;
  /** Over parts that hold some pages: what the messages take. */
  readonly empty: Times & Traffic;
  /** The greatest distance between the two. */
  readonly furthest: number;
}

type Rows = readonly [q: Float32Array, k: Float32Array, v: Float32Array];

const fillTokens = 512;
/** Of a message; nats-server takes 8 MB. */
const pieceBytes = 4 * 2 ** 20;

export class Decoding {
  readonly #options: ContextBenchOptions;
  readonly #transport: CountedTransport;
  readonly #cut: ContextCut;
  readonly #context: ContextParallel;
  readonly #cache: KvCache;
  readonly #alone: Sequence;
  readonly #apart: ContextSequence;

  constructor(options: ContextBenchOptions, cut: ContextCut, transport: CountedTransport) {
    const { layers, kvHeads, headDim, dtype, tokens, steps, rounds, replies } = options;
    const model = { layers, kvHeads, headDim };
    this.#options = options;
    this.#cut = cut;
    this.#transport = transport;
    this.#context = new ContextParallel({
      ...{ ...model, cut, transport, timeoutMs: 120_000, replyDType: replies },
    });
    const numPages = Math.ceil((tokens + (steps + 2) * rounds + 16) / 16) + 1;
    this.#cache = new KvCache({ ...model, dtype, numPages, pageSize: 16 });
    this.#alone = this.#cache.createSequence();
    this.#apart = this.#context.createSequence();
  }

  /** Fills the one cache, then moves all of it. */
  async move(): Promise<Moved> {
    const { tokens } = this.#options;
    while (this.#alone.length < tokens) {
      this.#fill(Math.min(fillTokens, tokens - this.#alone.length));
    }
    this.#transport.reset();
    const began = performance.now();
    for (let begin = 0; begin < tokens; ) {
      const end = Math.min(tokens, begin + this.#piece(begin));
      await this.#apart.append(await this.#alone.save({ begin, end }));
      begin = end;
    }
    return { tokens, bytes: this.#transport.sent, milliseconds: performance.now() - began };
  }

  /** Both in turn, so that a busy machine disturbs both alike. */
  async measure(): Promise<Measured> {
    const { rounds, steps } = this.#options;
    const alone: Times = { layers: [], tokens: [] };
    const apart = { layers: [], tokens: [], messages: 0, sent: 0, received: 0 };
    const empty = { ...apart, layers: [], tokens: [] };
    const short = this.#context.createSequence();
    const prompt = this.#cut.parts * this.#cut.tokensPerRun;
    await this.#stepApart(short, this.#rows(prompt), prompt);
    let furthest = 0;
    for (let round = 0; round < rounds; round++) {
      for (let step = 0; step <= steps; step++) {
        const rows = this.#rows(1);
        const counted = step > 0; // the first one of a round warms up
        const truth = this.#stepAlone(rows, counted ? alone : undefined);
        const out = await this.#stepApart(this.#apart, rows, 1, counted ? apart : undefined);
        await this.#stepApart(short, rows, 1, counted ? empty : undefined, 0);
        furthest = out.reduce((most, x, i) => Math.max(most, Math.abs(x - truth[i])), furthest);
      }
    }
    return { alone, apart, empty, furthest };
  }

  #piece(begin: number): number {
    const { layers, kvHeads, headDim, dtype } = this.#options;
    const bytes = { float32: 4, float16: 2, bfloat16: 2, int8: 1, float8_e4m3: 1 }[dtype];
    const most = Math.max(
      1,
      Math.floor(pieceBytes / (layers * kvHeads * (2 * headDim * bytes + 8))),
    );
    const { tokensPerRun } = this.#cut;
    return Math.min(most, tokensPerRun - (begin % tokensPerRun));
  }

  #rows(tokens: number): Rows {
    const { heads, kvHeads, headDim } = this.#options;
    const numbers = (of: number) =>
      Float32Array.from({ length: tokens * of * headDim }, () => 2 * Math.random() - 1);
    return [numbers(heads), numbers(kvHeads), numbers(kvHeads)];
  }

  /** A window of one key: appends, and attends to nothing else. */
  #fill(tokens: number): void {
    const step = this.#cache.step([{ sequence: this.#alone, tokens }]);
    const rows = this.#rows(tokens);
    for (let layer = 0; layer < this.#options.layers; layer++) {
      step.attention(layer, ...rows, { window: [0, 0], sync: true });
    }
    step.commit();
  }

  #stepAlone(rows: Rows, times?: Times): Float32Array {
    const step = this.#cache.step([{ sequence: this.#alone, tokens: 1 }]);
    let out: Float32Array = new Float32Array(0);
    const began = performance.now();
    for (let layer = 0; layer < this.#options.layers; layer++) {
      const before = performance.now();
      out = step.attention(layer, ...rows, { sync: true });
      times?.layers.push(performance.now() - before);
    }
    times?.tokens.push(performance.now() - began);
    step.commit();
    return out;
  }

  /** The rows as the model would have them: numbers, or tensors of 16-bit floats. */
  #sent(rows: Rows, tokens: number): readonly [ContextRows, ContextRows, ContextRows] {
    const { rows: dtype, headDim } = this.#options;
    if (dtype === 'float32') return rows;
    const [q, k, v] = rows.map((data) => {
      return tensor(data, [tokens, data.length / (tokens * headDim), headDim], { dtype });
    });
    return [q, k, v];
  }

  /** Keeps `accept` of the tokens. */
  async #stepApart(
    sequence: ContextSequence,
    rows: Rows,
    tokens: number,
    times?: Times & { messages: number; sent: number; received: number },
    accept = tokens,
  ): Promise<Float32Array> {
    const step = this.#context.step([{ sequence, tokens }]);
    let out: Float32Array = new Float32Array(0);
    const sent = this.#sent(rows, tokens);
    this.#transport.reset();
    const began = performance.now();
    for (let layer = 0; layer < this.#options.layers; layer++) {
      const before = performance.now();
      out = await step.attention(layer, ...sent);
      times?.layers.push(performance.now() - before);
    }
    if (times) {
      times.tokens.push(performance.now() - began);
      const { messages, sent: bytes, received, rounds } = this.#transport;
      Object.assign(times, {
        messages: messages / rounds,
        sent: bytes / rounds,
        received: received / rounds,
      });
    }
    step.commit({ accept: [accept] });
    return out;
  }
}
