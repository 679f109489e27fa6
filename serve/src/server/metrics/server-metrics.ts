import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

const seconds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const tokens = [1, 8, 32, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072];

/**
 * What the server counts itself. Names are those of vLLM, so that its dashboards work; what vLLM
 * doesn't have begins with `flash_attention_serve`.
 */
export class ServerMetrics {
  readonly registry = new Registry();
  readonly #registers = [this.registry];

  readonly success = new Counter({
    name: 'vllm:request_success_total',
    help: 'Answers that ended, each with one reason.',
    labelNames: ['finished_reason'],
    registers: this.#registers,
  });
  readonly timeToFirstToken = this.#histogram(
    'vllm:time_to_first_token_seconds',
    'From the request to its first token.',
    seconds,
  );
  readonly interTokenLatency = this.#histogram(
    'vllm:inter_token_latency_seconds',
    'From one token of an answer to the next.',
    seconds,
  );
  readonly latency = this.#histogram(
    'vllm:e2e_request_latency_seconds',
    'From the request to the end of the answer.',
    seconds,
  );
  readonly decodeTime = this.#histogram(
    'vllm:request_decode_time_seconds',
    'From the first token to the end of the answer.',
    seconds,
  );
  readonly requestPromptTokens = this.#histogram(
    'vllm:request_prompt_tokens',
    'Tokens of a prompt.',
    tokens,
  );
  readonly requestGenerationTokens = this.#histogram(
    'vllm:request_generation_tokens',
    'Tokens of an answer.',
    tokens,
  );
  readonly responses = new Counter({
    name: 'flash_attention_serve_http_responses_total',
    help: 'Responses by route and status.',
    labelNames: ['route', 'status'],
    registers: this.#registers,
  });

  constructor(modelName: string) {
    this.registry.setDefaultLabels({ model_name: modelName });
    for (const reason of ['stop', 'length', 'abort', 'error']) {
      this.success.inc({ finished_reason: reason }, 0);
    }
    collectDefaultMetrics({ register: this.registry });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: this.#registers });
  }
}
