// Objects of options: what they are, and which keys they may have.

import { FlashAttentionError, fail } from './errors.js';
import { kHandle, show } from './show.js';

/** An options object whose keys are all in `known`; `undefined` stands for none. */
export function checkOptions<T extends object>(
  value: T | undefined,
  known: ReadonlySet<string>,
  argument = 'options',
): T | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || isNoRecord(value)) {
    fail('ERR_TYPE', argument, 'a plain object', show(value));
  }
  for (const key in value) {
    if (!known.has(key)) unknownOption(key, known, argument);
  }
  return value;
}

/**
 * Objects that hold something, but not under names: tensors, promises, and what can be iterated
 * over, such as arrays and maps. They may have no keys of their own, and would pass for no options.
 */
function isNoRecord(value: object): boolean {
  return kHandle in value || Symbol.iterator in value || 'then' in value;
}

/** Names that other attention libraries give these options. */
const otherNames: Readonly<Record<string, string>> = {
  iscausal: 'causal',
  causal: 'isCausal',
  softmaxscale: 'scale',
  smscale: 'scale',
  windowsize: 'window',
  slidingwindow: 'window',
  attnmask: 'mask',
  mask: 'attnMask',
  attentionmask: 'mask',
  attnbias: 'mask',
  bias: 'mask',
  dropoutp: 'dropout',
  dropout: 'dropoutP',
  returnsoftmaxlse: 'returnLse',
  returnattnprobs: 'returnLse',
  logitscap: 'softcap',
  logitssoftcap: 'softcap',
  blocktable: 'pageTable',
  blocktables: 'pageTable',
  cacheseqlens: 'seqlensK',
  seqlens: 'seqlensK',
  kvlens: 'seqlensK',
  seed: 'dropoutSeed',
  cuseqlens: 'cuSeqlensQ',
  attentionsinks: 'sinks',
  alibi: 'alibiSlopes',
  // qScale, scale_q, qDescale, descale_q, ...
  ...Object.fromEntries(
    ['q', 'k', 'v'].flatMap((name) =>
      [`${name}scale`, `scale${name}`, `${name}descale`, `descale${name}`].map((other) => [
        other,
        'scales',
      ]),
    ),
  ),
};

function unknownOption(key: string, known: ReadonlySet<string>, argument: string): never {
  const guess = suggest(key, known);
  const hint = guess ? `Did you mean '${guess}'?` : `Known: ${[...known].join(', ')}.`;
  throw new FlashAttentionError(
    'ERR_OPTION',
    `Expected ${argument} to hold known keys but received '${key}'. ${hint}`,
    { argument: `${argument}.${key}` },
  );
}

function suggest(key: string, known: ReadonlySet<string>): string | undefined {
  const plain = key.replaceAll('_', '').toLowerCase();
  const alias = otherNames[plain];
  if (alias && known.has(alias)) return alias;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(plain.length / 3)) + 1;
  for (const name of known) {
    const distance = editDistance(plain, name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, substitute));
    }
    row = next;
  }
  return row[b.length];
}
