import type { Finish } from '../../engine/contract.js';
import { TracedWork } from '../tracing.js';
import type { Run } from '../run-message.js';

/**
 * An answer in a trace: until its first token it waits and its prompt is computed, then every step
 * of the model is an event of its decoding.
 */
export class TracedAnswer {
  readonly #answer: TracedWork | undefined;
  #part: TracedWork | undefined;
  #steps = 0;
  /** Tokens of the step whose tokens come now: they come in one turn of the event loop. */
  #tokens = 0;

  constructor(worker: string, trace: Run['trace']) {
    if (trace === undefined) return;
    this.#answer = TracedWork.continue('work', trace, { worker });
    this.#part = this.#answer.child('prefill');
  }

  token(): void {
    if (this.#answer === undefined) return;
    if (this.#steps === 0) {
      this.#part?.end();
      this.#part = this.#answer.child('decode');
    }
    if (this.#tokens++ > 0) return;
    this.#steps++;
    setImmediate(() => {
      this.#part?.event('step', { tokens: this.#tokens });
      this.#tokens = 0;
    });
  }

  end({ completionTokens, cachedTokens, error }: Finish): void {
    if (this.#answer === undefined) return;
    const last = this.#part;
    const end = (): void => {
      last?.end({ steps: this.#steps });
      this.#answer?.end({ completionTokens, cachedTokens }, error);
    };
    // Behind the event of the last step.
    setImmediate(end);
  }
}
