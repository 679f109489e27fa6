// Checks of plain values. Each returns the value it was given, narrowed, or throws.

import { FlashAttentionError, fail } from '../native/errors.js';
import { kHandle, show } from '../native/show.js';

export function checkNumber(value: unknown, argument: string): number {
  if (typeof value !== 'number') fail('ERR_TYPE', argument, 'a number', show(value));
  return value;
}

export function checkInteger(value: unknown, min: number, max: number, argument: string): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    const code = typeof value === 'number' ? 'ERR_OPTION' : 'ERR_TYPE';
    fail(code, argument, `an integer ${bounds}`, show(value));
  }
  return value as number;
}

/** A window bound: an integer or Infinity. */
export function checkWindowBound(value: unknown, argument: string): number {
  if (!Number.isSafeInteger(value) && value !== Number.POSITIVE_INFINITY) {
    const code = typeof value === 'number' ? 'ERR_OPTION' : 'ERR_TYPE';
    const hint = value === Number.NEGATIVE_INFINITY ? 'Infinity stands for no bound.' : '';
    fail(code, argument, 'an integer or Infinity', show(value), hint);
  }
  return value as number;
}

export function checkBoolean(value: unknown, argument: string): boolean {
  if (typeof value !== 'boolean') fail('ERR_TYPE', argument, 'a boolean', show(value));
  return value;
}

const uint64End = 1n << 64n;

/** A bigint from 0 to 2^64 - 1. Numbers are refused: they cannot hold every seed. */
export function checkUint64(value: unknown, argument: string): bigint {
  if (typeof value !== 'bigint') {
    const hint = Number.isSafeInteger(value) ? `Write ${value}n.` : '';
    fail('ERR_TYPE', argument, 'a bigint', show(value), hint);
  }
  if (value < 0n || value >= uint64End) {
    fail('ERR_OPTION', argument, 'a bigint from 0n to 2n ** 64n - 1n', show(value));
  }
  return value;
}

/** An options object whose keys are all in `known`; `undefined` stands for none. */
export function checkOptions<T extends object>(
  value: T | undefined,
  known: ReadonlySet<string>,
  argument = 'options',
): T | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value) || kHandle in value) {
    fail('ERR_TYPE', argument, 'an object', show(value));
  }
  for (const key in value) {
    if (!known.has(key)) unknownOption(key, known, argument);
  }
  return value;
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
