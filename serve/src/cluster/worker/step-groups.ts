/** Consecutive steps of a model. */
export interface StepGroup {
  readonly steps: number;
  readonly tokens: number;
  /** From the tokens of the step before the first of them to those of the last. */
  readonly milliseconds: number;
  /** Of one of them. */
  readonly longestMilliseconds: number;
}

const none: StepGroup = { steps: 0, tokens: 0, milliseconds: 0, longestMilliseconds: 0 };

/**
 * Tells steps in groups of 1, 2, 4, … of them, so that long answers are few events: SDKs keep 128
 * of a span.
 */
export class StepGroups {
  readonly #tell: (group: StepGroup) => void;
  #last: number;
  #size = 1;
  #group = none;

  /** @param begin Milliseconds, as in {@link StepGroups.add}. */
  constructor(begin: number, tell: (group: StepGroup) => void) {
    this.#last = begin;
    this.#tell = tell;
  }

  /** A step whose tokens came at a time. */
  add(tokens: number, at: number): void {
    const own = at - this.#last;
    this.#last = at;
    const { steps, tokens: told, milliseconds, longestMilliseconds } = this.#group;
    this.#group = {
      steps: steps + 1,
      tokens: told + tokens,
      milliseconds: milliseconds + own,
      longestMilliseconds: Math.max(longestMilliseconds, own),
    };
    if (this.#group.steps < this.#size) return;
    this.end();
    this.#size *= 2;
  }

  /** Tells what is left. */
  end(): void {
    if (this.#group.steps > 0) this.#tell(this.#group);
    this.#group = none;
  }
}
