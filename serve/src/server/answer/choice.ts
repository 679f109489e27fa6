import type { Finish, FinishReason, Generation } from '../../engine/contract.js';
import { AnswerText, type TextPiece } from '../../text/answer-text.js';
import type { Vocabulary } from '../../text/contract.js';
import type { AnswerClock } from '../metrics/answer-clock.js';
import type { GenerationPlan } from '../request/generation.js';
import { type ToolCall, ToolCallReader } from './tool-calls.js';

/** A part of an answer: text, and calls of tools where those are looked for. */
export interface AnswerPiece extends TextPiece {
  readonly calls?: readonly ToolCall[];
}

/** How a choice ended, as the API sees it: a stop string ends an answer as well as a token does. */
export interface ChoiceEnd {
  readonly reason: FinishReason | 'tool_calls';
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
  readonly #tools: ToolCallReader | undefined;
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
    this.#tools = plan.toolCalls ? new ToolCallReader() : undefined;
  }

  cancel(): void {
    this.#generation.cancel();
  }

  /** The answer as it comes; to be read once. Returns how it ended, and never throws. */
  pieces(): AsyncGenerator<AnswerPiece, ChoiceEnd> {
    const pieces = this.#textPieces();
    return this.#tools ? readTools(pieces, this.#tools) : pieces;
  }

  async *#textPieces(): AsyncGenerator<TextPiece, ChoiceEnd> {
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

/** An answer cut at the limit may have been about to call: it ends as 'length'. */
async function* readTools(
  pieces: AsyncGenerator<TextPiece, ChoiceEnd>,
  tools: ToolCallReader,
): AsyncGenerator<AnswerPiece, ChoiceEnd> {
  let next = await pieces.next();
  for (; !next.done; next = await pieces.next()) {
    const piece = { ...next.value, ...tools.push(next.value.text) };
    if (hasContent(piece)) yield piece;
  }
  const rest = { text: tools.end(), entries: [] };
  if (hasContent(rest)) yield rest;
  const end = next.value;
  return end.reason === 'stop' && tools.hasCalled ? { ...end, reason: 'tool_calls' } : end;
}

const hasContent = ({ text, entries, calls = [] }: AnswerPiece): boolean =>
  text !== '' || entries.length > 0 || calls.length > 0;

const countsOf = ({ promptTokens, cachedTokens, completionTokens }: Finish) => ({
  promptTokens,
  cachedTokens,
  completionTokens,
});
