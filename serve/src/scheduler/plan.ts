import type { EngineOptions } from '../engine/contract.js';
import type { Answer } from './answer.js';
import { promptLookup } from './prompt-lookup.js';

export type SchedulerLimits = Pick<
  EngineOptions,
  'maxBatchTokens' | 'prefillChunk' | 'maxRunning' | 'prefixCache'
>;

/** What a step feeds of one answer. */
export interface PlannedEntry {
  readonly answer: Answer;
  readonly tokens: Int32Array;
  /** Rows whose logits are wanted: the last known token's and those of all drafts. */
  readonly logitsOf: readonly number[];
  /** The last tokens are guesses, this many. */
  readonly drafts: number;
}

/**
 * The next step (chunked prefill, Agrawal et al. 2024, Sarathi-Serve, arXiv 2403.02310): one token
 * of every answer that is decoding, then pieces of prompts, then drafts, within the budget.
 *
 * @param running the most important first.
 * @param limits with the most tokens of this step.
 */
export function planStep(
  running: readonly Answer[],
  limits: SchedulerLimits & { readonly budget: number },
  withDrafts: boolean,
): PlannedEntry[] {
  const ready = running.filter(({ constraint }) => constraint === undefined || constraint.mask);
  const decoding = ready.filter(({ missingTokens }) => missingTokens === 1).slice(0, limits.budget);
  let budget = limits.budget - decoding.length;

  const prompts: PlannedEntry[] = [];
  for (const answer of running) {
    const piece = answer.missingTokens > 1 ? nextPiece(answer, pieceLength(limits)) : undefined;
    // A piece that does not fit whole waits: pieces are cut alike, whoever else is served.
    if (piece === undefined || piece.tokens.length > budget) continue;
    if (piece.logitsOf.length > 0 && !ready.includes(answer)) continue;
    budget -= piece.tokens.length;
    prompts.push(piece);
  }

  const decodes = decoding.map((answer) => {
    const entry = decode(answer, withDrafts ? budget : 0);
    budget -= entry.drafts;
    return entry;
  });
  return [...decodes, ...prompts];
}

/**
 * Whether a step has room for more than those who run. Who waits longer finds prefixes that were
 * stored meanwhile.
 */
export function hasBudget(running: readonly Answer[], limits: SchedulerLimits): boolean {
  const length = pieceLength(limits);
  const tokens = running.reduce(
    (sum, { missingTokens }) => sum + Math.min(missingTokens, length),
    0,
  );
  return tokens < limits.maxBatchTokens;
}

/** Beside a piece of this length there is always room for all others to decode. */
function pieceLength({ maxBatchTokens, prefillChunk, maxRunning }: SchedulerLimits): number {
  return Math.min(prefillChunk, maxBatchTokens - maxRunning + 1);
}

/** Pieces end at multiples of `length`, wherever a stored prefix ends. */
function nextPiece(answer: Answer, length: number): PlannedEntry {
  const from = answer.sequence?.length ?? 0;
  const to = Math.min((Math.floor(from / length) + 1) * length, answer.tokens.length);
  const isLast = to === answer.tokens.length;
  const tokens = answer.tokens.view(from, to);
  return { answer, tokens, logitsOf: isLast ? [to - from - 1] : [], drafts: 0 };
}

function decode(answer: Answer, budget: number): PlannedEntry {
  const known = answer.tokens.view(answer.tokens.length - 1);
  const { speculativeTokens } = answer.request;
  const most = Math.min(speculativeTokens, budget, answer.remainingTokens - 1);
  const alone = answer.followers.length === 0 && answer.constraint === undefined;
  const guess = most > 0 && alone ? promptLookup(answer.tokens.view(), most) : [];
  if (guess.length === 0) return { answer, tokens: known, logitsOf: [0], drafts: 0 };
  const tokens = Int32Array.of(known[0], ...guess);
  return { answer, tokens, logitsOf: [...tokens.keys()], drafts: guess.length };
}
