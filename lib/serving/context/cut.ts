// Which worker holds which tokens of a sequence: arithmetic alone.
import { checkInteger, checkOptions } from '../../tensor/check.js';

/**
 * How the tokens of every sequence are cut into parts, one per worker (context parallelism). Runs
 * of tokens are dealt to the parts in turn: token t lies on part `floor(t / tokensPerRun) % parts`.
 * It is a function of t alone, so no token ever moves.
 */
export interface ContextCut {
  /** Workers that pages lie on, 1 to 1024. */
  parts: number;
  /**
   * Consecutive tokens of a run, a multiple of the page size of every worker. Few (some pages) give
   * all parts equally much of every sequence; `maxSeqlen / parts` and more gives each part one
   * contiguous range.
   */
  tokensPerRun: number;
}

/** A part, and the cut that it is one of. */
export interface CutPart extends ContextCut {
  /** 0 to parts - 1. */
  part: number;
}

export const cutKeys = ['parts', 'tokensPerRun'] as const;

const maxParts = 1024;
const maxInt32 = 2 ** 31 - 1;

export function checkCut({ parts, tokensPerRun }: ContextCut, path: string): ContextCut {
  return {
    parts: checkInteger(parts, 1, maxParts, `${path}.parts`),
    tokensPerRun: checkInteger(tokensPerRun, 1, maxInt32, `${path}.tokensPerRun`),
  };
}

const partKeys: ReadonlySet<string> = new Set([...cutKeys, 'part']);

export function checkCutPart(value: CutPart | undefined, path: string): CutPart {
  const given = checkOptions(value, partKeys, path) ?? ({} as CutPart);
  const cut = checkCut(given, path);
  return { ...cut, part: checkInteger(given.part, 0, cut.parts - 1, `${path}.part`) };
}

/** The part that a token lies on. */
export function partOf({ parts, tokensPerRun }: ContextCut, token: number): number {
  return Math.floor(token / tokensPerRun) % parts;
}

/** How many of the first `length` tokens lie on a part. */
export function tokensOn({ parts, tokensPerRun, part }: CutPart, length: number): number {
  const runs = Math.floor(length / tokensPerRun);
  const last = runs % parts; // the part of the run that is not full
  const full = Math.floor(runs / parts) * tokensPerRun;
  if (part < last) return full + tokensPerRun;
  return part === last ? full + (length % tokensPerRun) : full;
}
