import { Counter, Gauge, type Registry } from 'prom-client';
import type { EngineStats } from '../../engine/contract.js';

type Read = (stats: EngineStats) => number;

const gauges: Readonly<Record<string, [help: string, read: Read]>> = {
  'vllm:num_requests_running': ['Answers under way.', ({ running }) => running],
  'vllm:num_requests_waiting': ['Answers queued.', ({ waiting }) => waiting],
  'vllm:kv_cache_usage_perc': [
    'Part of the cache that answers under way use, 0 to 1.',
    ({ cache }) => (cache.pages > 0 ? cache.used / cache.pages : 0),
  ],
  flash_attention_serve_cache_pages: ['Pages of the cache.', ({ cache }) => cache.pages],
  flash_attention_serve_cache_free_pages: ['Pages without content.', ({ cache }) => cache.free],
  flash_attention_serve_cache_stored_pages: [
    'Pages that keep prefixes nobody uses now.',
    ({ cache }) => cache.stored,
  ],
  flash_attention_serve_batch_tokens: [
    'Tokens of the last step.',
    ({ batchTokens }) => batchTokens,
  ],
  flash_attention_serve_step_seconds: [
    'Time of the last step.',
    ({ stepMilliseconds }) => stepMilliseconds / 1000,
  ],
};

const counters: Readonly<Record<string, [help: string, read: Read]>> = {
  'vllm:prompt_tokens_total': ['Tokens of prompts.', ({ promptTokens }) => promptTokens],
  'vllm:generation_tokens_total': ['Tokens made.', ({ generationTokens }) => generationTokens],
  'vllm:prefix_cache_queries_total': [
    'Tokens looked up among the stored prefixes.',
    ({ prefixQueries }) => prefixQueries,
  ],
  'vllm:prefix_cache_hits_total': ['Of them, found.', ({ prefixHits }) => prefixHits],
  'vllm:num_preemptions_total': [
    'Answers interrupted because the cache was full.',
    ({ preemptions }) => preemptions,
  ],
  'vllm:spec_decode_num_draft_tokens_total': [
    'Tokens guessed by prompt lookup.',
    ({ draftTokens }) => draftTokens,
  ],
  'vllm:spec_decode_num_accepted_tokens_total': [
    'Of them, right.',
    ({ acceptedTokens }) => acceptedTokens,
  ],
  flash_attention_serve_steps_total: ['Steps of the engine.', ({ steps }) => steps],
};

/** Of a cluster alone. */
class ClusterMetrics {
  readonly #workers: Gauge;
  readonly #moved: Counter;
  readonly #memory: Gauge;
  readonly #processor: Counter;
  readonly #tokens: Counter;
  readonly #bytes: Counter;

  constructor(registers: Registry[]) {
    this.#workers = new Gauge({
      name: 'flash_attention_serve_workers',
      help: 'Workers that this frontend hears, by what they do.',
      labelNames: ['state'],
      registers,
    });
    this.#moved = new Counter({
      name: 'flash_attention_serve_moved_total',
      help: 'Times that a worker left work undone and another one went on.',
      registers,
    });
    this.#memory = new Gauge({
      name: 'flash_attention_serve_workers_resident_memory_bytes',
      help: 'Memory of all workers.',
      registers,
    });
    this.#processor = new Counter({
      name: 'flash_attention_serve_workers_cpu_seconds_total',
      help: 'Processor time of all workers.',
      registers,
    });
    const labelNames = ['direction'];
    this.#tokens = new Counter({
      name: 'flash_attention_serve_transfer_tokens_total',
      help: 'Tokens whose pages workers left for others (out), took (in), and took to find (reused).',
      labelNames,
      registers,
    });
    this.#bytes = new Counter({
      name: 'flash_attention_serve_transfer_bytes_total',
      help: 'Bytes of pages that workers left for others (out) and took (in).',
      labelNames,
      registers,
    });
  }

  set({ workers, moved, usage }: NonNullable<EngineStats['cluster']>): void {
    for (const [state, count] of Object.entries(workers)) this.#workers.set({ state }, count);
    this.#memory.set(usage.memoryBytes);
    const counters = [this.#moved, this.#processor, this.#tokens, this.#bytes];
    for (const counter of counters) counter.reset();
    this.#moved.inc(moved);
    this.#processor.inc(usage.processorSeconds);
    this.#tokens.inc({ direction: 'out' }, usage.savedTokens);
    this.#tokens.inc({ direction: 'in' }, usage.loadedTokens);
    this.#tokens.inc({ direction: 'reused' }, usage.reusedTokens);
    this.#bytes.inc({ direction: 'out' }, usage.savedBytes);
    this.#bytes.inc({ direction: 'in' }, usage.loadedBytes);
  }
}

/** What the engine counts, asked for when Prometheus scrapes: a gauge never outlives its cause. */
export class EngineMetrics {
  readonly #gauges: readonly [Gauge, Read][];
  readonly #counters: readonly [Counter, Read][];
  readonly #registers: Registry[];
  #cluster: ClusterMetrics | undefined;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#registers = registers;
    this.#gauges = Object.entries(gauges).map(([name, [help, read]]) => {
      return [new Gauge({ name, help, registers }), read];
    });
    this.#counters = Object.entries(counters).map(([name, [help, read]]) => {
      return [new Counter({ name, help, registers }), read];
    });
  }

  /** @param stats undefined: the engine starts again, and nothing runs. */
  set(stats: EngineStats | undefined): void {
    if (!stats) {
      for (const [gauge] of this.#gauges) gauge.reset();
      return;
    }
    for (const [gauge, read] of this.#gauges) gauge.set(read(stats));
    for (const [counter, read] of this.#counters) {
      counter.reset();
      counter.inc(read(stats));
    }
    if (stats.cluster === undefined) return;
    this.#cluster ??= new ClusterMetrics(this.#registers);
    this.#cluster.set(stats.cluster);
  }
}
