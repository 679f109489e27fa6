import { randomUUID } from 'node:crypto';
import type { LogprobEntry } from '../../text/logprobs.js';
import type { AnswerPiece, ChoiceEnd } from './choice.js';
import type { ToolCall } from './tool-calls.js';

/** A whole answer, for responses in one piece. */
export interface WholeChoice {
  readonly index: number;
  readonly text: string;
  readonly entries: readonly LogprobEntry[];
  readonly calls: readonly ToolCall[];
  readonly end: ChoiceEnd;
}

/** The objects of one response: those of chats and those of plain completions differ. */
export interface AnswerFormat {
  /**
   * @param isFirst whether it is the choice's first.
   * @param calls of tools before it.
   */
  chunk(index: number, piece: AnswerPiece, isFirst: boolean, calls: number): object;
  /** @param isFirst whether the choice had no text at all. */
  finishChunk(index: number, end: ChoiceEnd, isFirst: boolean): object;
  usageChunk(usage: object): object;
  whole(choices: readonly WholeChoice[], usage: object): object;
}

/** Beside the choices of every object. */
export interface Envelope {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

/** @param kind how ids of the route begin */
export function newEnvelope(kind: string, model: string): Envelope {
  const id = `${kind}-${randomUUID().replaceAll('-', '')}`;
  return { id, created: Math.floor(Date.now() / 1000), model };
}

/**
 * What the answers took. The prompt of several choices counts once, and what was cached of it is
 * what the first of them found.
 * @param prompts the choices of each prompt
 */
export function usageOf(prompts: readonly (readonly ChoiceEnd[])[]): object {
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const promptTokens = sum(prompts.map(([first]) => first.promptTokens));
  const completionTokens = sum(prompts.flat().map((end) => end.completionTokens));
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: sum(prompts.map(([first]) => first.cachedTokens)) },
  };
}

/** `finish_reason` and, as vLLM has it, what made the answer stop. */
export function finishOf({ reason, stopReason }: ChoiceEnd): object {
  return { finish_reason: reason, stop_reason: stopReason };
}
