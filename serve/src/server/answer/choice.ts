import type { Finish, FinishReason, Generation } from '../../engine/contract.js';
import { AnswerText, type TextPiece } from '../../text/answer-text.js';
import type { Vocabulary } from '../../text/contract.js';
import type { AnswerClock } from '../metrics/answer-clock.js';
import type { GenerationPlan } from '../request/generation.js';

/** How a choice ended, as the API sees it: a stop string ends an answer as well as a token does. */
export interface ChoiceEnd {
  readonly reason: FinishReason;
  /** The string or token id that ended it; null: the model's own end or none. */
  readonly stopReason: string | number | null;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly error?: Error;
}

/** One answer of a request: tokens of the engine become pieces of text. */
export class Choice {
  readonly #generation: Generation;
  readonly #text: AnswerText;
  readonly #clock: AnswerClock;
  /** Ids that may end the answer. Only the engine knows whether one did. */
  readonly #endIds: ReadonlySet<number>;
  readonly #eosIds: ReadonlySet<number>;
  #completionTokens = 0;

  constructor(
    readonly index: number,
    generation: Generation,
    plan: GenerationPlan,
    model: { readonly vocabulary: Vocabulary; readonly eosTokenIds: readonly number[] },
    clock: AnswerClock,
  ) {
    this.#generation = generation;
    this.#text = new AnswerText(model.vocabulary, plan.textOptions);
    this.#eosIds = new Set(model.eosTokenIds);
    this.#endIds = new Set([...model.eosTokenIds, ...plan.requests[0].stopTokenIds]);
    this.#clock = clock;
  }

  cancel(): void {
    this.#generation.cancel();
  }

  /** The text as it comes; to be read once. Returns how it ended, and never throws. */
  async *pieces(): AsyncGenerator<TextPiece, ChoiceEnd> {
    let waiting: Parameters<AnswerText['push']>[0] | undefined;
    for await (const event of this.#generation) {
      this.#clock.token();
      this.#completionTokens++;
      // A token that ends the answer is no part of it: that shows when nothing follows.
      const ready = waiting ? [waiting, event] : [event];
      waiting = this.#endIds.has(event.token) ? ready.pop() : undefined;
      for (const each of ready) {
        const piece = this.#text.push(each);
        if (hasContent(piece)) yield piece;
        if (piece.stop !== undefined) return this.#stoppedBy(piece.stop);
      }
    }
    const finish = await this.#generation.finished;
    const rest = waiting && finish.stopToken === undefined ? [this.#text.push(waiting)] : [];
    const stopped = rest.find(({ stop }) => stop !== undefined);
    if (!stopped) rest.push(this.#text.end());
    yield* rest.filter(hasContent);
    return this.#end(finish);
  }

  async #stoppedBy(stop: string): Promise<ChoiceEnd> {
    this.#generation.cancel();
    const finish = await this.#generation.finished;
    return this.#ended({
      ...countsOf(finish),
      reason: 'stop',
      stopReason: stop,
      completionTokens: this.#completionTokens,
    });
  }

  #end(finish: Finish): ChoiceEnd {
    const { stopToken = -1, reason, error } = finish;
    const stopReason = stopToken < 0 || this.#eosIds.has(stopToken) ? null : stopToken;
    return this.#ended({ ...countsOf(finish), reason, stopReason, error });
  }

  #ended(end: ChoiceEnd): ChoiceEnd {
    this.#clock.ended(end);
    return end;
  }
}

const hasContent = ({ text, entries }: TextPiece): boolean => text !== '' || entries.length > 0;

const countsOf = ({ promptTokens, cachedTokens, completionTokens }: Finish) => ({
  promptTokens,
  cachedTokens,
  completionTokens,
});
