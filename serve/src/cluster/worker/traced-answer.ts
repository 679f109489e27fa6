import type { Finish } from '../../engine/contract.js';
import { TracedWork } from '../tracing.js';
import type { Run } from '../run-message.js';
import { StepGroups } from './step-groups.js';

/**
 * An answer in a trace: until its first token it waits and its prompt is computed, then groups of
 * steps of the model are events of its decoding.
 */
export class TracedAnswer {
  readonly #answer: TracedWork | undefined;
  #part: TracedWork | undefined;
  #groups: StepGroups | undefined;
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
    if (this.#steps === 0) this.#beginDecode(this.#answer);
    if (this.#tokens++ > 0) return;
    this.#steps++;
    const at = performance.now();
    setImmediate(() => {
      this.#groups?.add(this.#tokens, at);
      this.#tokens = 0;
    });
  }

  end({ completionTokens, cachedTokens, error }: Finish): void {
    if (this.#answer === undefined) return;
    const last = this.#part;
    const end = (): void => {
      this.#groups?.end();
      last?.end({ steps: this.#steps });
      this.#answer?.end({ completionTokens, cachedTokens }, error);
    };
    // Behind the last step.
    setImmediate(end);
  }

  #beginDecode(answer: TracedWork): void {
    this.#part?.end();
    const decode = answer.child('decode');
    this.#part = decode;
    this.#groups = new StepGroups(performance.now(), (group) =>
      decode.event('steps', { ...group }),
    );
  }
}
