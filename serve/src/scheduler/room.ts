import type { CacheCounts } from '../engine/contract.js';
import { type Answer, byImportance } from './answer.js';

/** Whether all that run can go on, and grow by a page each, beside the whole of this one. */
export function hasRoomFor(
  answer: Answer,
  running: readonly Answer[],
  { free, stored, pageSize }: CacheCounts,
): boolean {
  const missingPages = ({ tokens, sequence }: Answer) =>
    Math.ceil((tokens.length + 1) / pageSize) - Math.ceil((sequence?.length ?? 0) / pageSize);
  const promised = running.reduce((pages, other) => pages + missingPages(other) + 1, 0);
  return promised + missingPages(answer) <= free + stored;
}

/**
 * Whether a more important prompt is about to compute pages that this answer lacks and could share:
 * prompts that begin alike and come together are computed once.
 */
export function canShareSoon(
  answer: Answer,
  running: readonly Answer[],
  pageSize: number,
): boolean {
  const found = answer.sequence?.length ?? 0;
  return running.some((other) => {
    if (other.missingTokens <= 1 || byImportance(other, answer) > 0) return false;
    if (other.request.cacheScope !== answer.request.cacheScope) return false;
    if (other.longRope !== answer.longRope) return false;
    const alike = Math.min(commonLength(other, answer), answer.tokens.length - 1);
    const shared = pageSize * Math.floor(alike / pageSize);
    return shared > Math.max(found, other.sequence?.length ?? 0);
  });
}

function commonLength(a: Answer, b: Answer): number {
  const [first, second] = [a.tokens.view(), b.tokens.view()];
  const length = Math.min(first.length, second.length);
  for (let i = 0; i < length; i++) if (first[i] !== second[i]) return i;
  return length;
}
