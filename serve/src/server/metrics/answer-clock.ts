import type { ServerMetrics } from './server-metrics.js';

/** What an answer took. */
export interface AnswerCounts {
  readonly reason: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** Times one answer, from the request's arrival to its end. */
export class AnswerClock {
  readonly #metrics: ServerMetrics;
  readonly #start: number;
  #first: number | undefined;
  #last = 0;

  /** @param start milliseconds of `performance.now()`, when the request came. */
  constructor(metrics: ServerMetrics, start: number) {
    this.#metrics = metrics;
    this.#start = start;
  }

  /** A token came. */
  token(): void {
    const now = performance.now();
    if (this.#first === undefined) {
      this.#first = now;
      this.#metrics.timeToFirstToken.observe((now - this.#start) / 1000);
    } else {
      this.#metrics.interTokenLatency.observe((now - this.#last) / 1000);
    }
    this.#last = now;
  }

  /** The answer ended, however. To be called once. */
  ended({ reason, promptTokens, completionTokens }: AnswerCounts): void {
    const now = performance.now();
    const metrics = this.#metrics;
    metrics.success.inc({ finished_reason: reason });
    metrics.latency.observe((now - this.#start) / 1000);
    metrics.decodeTime.observe((now - (this.#first ?? now)) / 1000);
    metrics.requestPromptTokens.observe(promptTokens);
    metrics.requestGenerationTokens.observe(completionTokens);
  }
}
