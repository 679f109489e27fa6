import { KvCache, type KvCacheOptions, type Sequence } from 'flash-attention/serving';
import { Connection } from '../../src/cluster/connection.js';
import { NatsServer } from '../../src/cluster/nats-server.js';
import { PageStore } from '../../src/cluster/page-store.js';
import { processorTimeOf } from './processor-time.js';

/** A model of a billion parameters: Llama 3.2 1B. */
const shape = { layers: 16, kvHeads: 8, headDim: 64 };

export interface TransferResult {
  readonly dtype: string;
  readonly tokens: number;
  readonly bytes: number;
  /** Milliseconds of each part of the way, the least of some rounds. */
  readonly save: number;
  readonly put: number;
  readonly take: number;
  readonly load: number;
  /** Milliseconds of processors, of both sides and of NATS. */
  readonly processors: number;
}

/** Moves texts of these lengths from one cache to another, through NATS on this machine. */
export async function measureTransfer(
  dtype: NonNullable<KvCacheOptions['dtype']>,
  lengths: readonly number[],
  rounds: number,
): Promise<TransferResult[]> {
  const nats = await NatsServer.start();
  const connection = await Connection.open({ url: nats.url, cluster: 'transfer' });
  const store = new PageStore(connection);
  const numPages = Math.ceil(Math.max(...lengths) / 16);
  const [from, to] = [0, 1].map(() => new KvCache({ ...shape, dtype, numPages }));
  try {
    const sequence = fill(from, Math.max(...lengths));
    const results: TransferResult[] = [];
    for (const tokens of lengths) {
      const all: TransferResult[] = [];
      for (let round = 0; round < rounds; round++) {
        all.push({ dtype, tokens, ...(await move(sequence, tokens, to, store)) });
      }
      const least = (part: (typeof parts)[number]) => Math.min(...all.map((each) => each[part]));
      results.push({
        ...all[0],
        ...(Object.fromEntries(parts.map((part) => [part, least(part)])) as Moved),
      });
    }
    return results;
  } finally {
    from.dispose();
    to.dispose();
    await connection.close();
    await nats.close();
  }
}

const parts = ['save', 'put', 'take', 'load', 'processors'] as const;
type Moved = Pick<TransferResult, (typeof parts)[number]>;

async function move(
  ...[sequence, tokens, to, store]: [Sequence, number, KvCache, PageStore]
): Promise<Moved & { readonly bytes: number }> {
  // nats-server is a child of this process.
  const { result, seconds } = await processorTimeOf({ all: [process.pid] }, () =>
    moveInSteps(sequence, tokens, to, store),
  );
  return { ...result, processors: 1000 * seconds.all };
}

async function moveInSteps(sequence: Sequence, tokens: number, to: KvCache, store: PageStore) {
  const signal = AbortSignal.timeout(60_000);
  const times = [performance.now()];
  const stop = (): void => void times.push(performance.now());
  const bytes = await sequence.save({ end: tokens });
  stop();
  const name = await store.put({ scope: '', pageSize: 16, pages: [tokens] }, bytes, signal);
  stop();
  const taken = await store.take(name, '', signal);
  stop();
  if (taken === undefined) throw new Error('what was put is not there');
  to.load(taken).dispose();
  stop();
  const [save, put, take, load] = times.slice(1).map((time, n) => time - times[n]);
  return { bytes: bytes.length, save, put, take, load };
}

/** A sequence whose keys and values are all alike: nothing looks at them. */
function fill(cache: KvCache, tokens: number): Sequence {
  const sequence = cache.createSequence();
  const piece = 256;
  const rows = new Float32Array(piece * shape.kvHeads * shape.headDim).fill(0.5);
  for (let at = 0; at < tokens; at += piece) {
    const count = Math.min(piece, tokens - at);
    const ids = Int32Array.from({ length: count }, (_, i) => at + i);
    using step = cache.step([{ sequence, tokens: ids }]);
    const own = rows.subarray(0, count * shape.kvHeads * shape.headDim);
    // A window of one token: little to compute.
    for (let layer = 0; layer < shape.layers; layer++) {
      step.attention(layer, own, own, own, { sync: true, window: [0, 0] });
    }
    step.commit();
  }
  return sequence;
}
