// What the page shows, as one flat object that fits into a link.

export const views = ['tiles', 'memory', 'softmax', 'call'] as const;
export type View = (typeof views)[number];

export const algorithmNames = ['standard', 'flash1', 'flash2', 'decoding', 'backward'] as const;
export type AlgorithmName = (typeof algorithmNames)[number];

export const patterns = ['none', 'longformer', 'bigbird', 'document'] as const;
export type Pattern = (typeof patterns)[number];

/** A whole number: its default, and the least and the most that it may be. */
interface Bounds {
  readonly is: number;
  readonly min: number;
  readonly max: number;
}

/** Whole numbers of the view "Tiles", then of "Memory and IO", then of "Softmax". */
export const numbers = {
  n: { is: 64, min: 4, max: 128 },
  d: { is: 8, min: 1, max: 64 },
  blockQ: { is: 16, min: 2, max: 64 },
  blockK: { is: 16, min: 2, max: 64 },
  splits: { is: 4, min: 1, max: 16 },
  /** Keys kept before the diagonal; 0: all. */
  window: { is: 0, min: 0, max: 64 },
  /** Query heads of the one kv head. */
  group: { is: 1, min: 1, max: 8 },
  seed: { is: 1, min: 0, max: 999_999 },
  row: { is: 0, min: 0, max: 127 },
  step: { is: 0, min: 0, max: 1_000_000 },

  /** Tokens, as a power of two. */
  logN: { is: 13, min: 9, max: 17 },
  headDim: { is: 128, min: 16, max: 256 },
  heads: { is: 32, min: 1, max: 128 },
  bytes: { is: 2, min: 1, max: 8 },
  /** SRAM of one multiprocessor, in KiB. */
  sram: { is: 192, min: 16, max: 512 },

  chunk: { is: 3, min: 1, max: 12 },
} as const satisfies Record<string, Bounds>;

export type NumberName = keyof typeof numbers;

const choiceDefaults = { algorithm: 'flash2', pattern: 'none' } as const;

export const maxScore = 8;
export const defaultScores: readonly number[] = [1, 2.5, -1, 3, 0.5, 4.5, -2, 2, 5.5, 1, 0, 3.5];

export interface Settings extends Record<NumberName, number> {
  readonly view: View;
  readonly algorithm: AlgorithmName;
  readonly pattern: Pattern;
  readonly causal: boolean;
  /** Of the view "Softmax". */
  readonly scores: readonly number[];
}

export const defaults: Settings = {
  view: 'tiles',
  ...choiceDefaults,
  causal: false,
  scores: defaultScores,
  ...(Object.fromEntries(Object.entries(numbers).map(([name, { is }]) => [name, is])) as Record<
    NumberName,
    number
  >),
};

function wholeNumber(text: string | null, { is, min, max }: Bounds): number {
  if (text === null || !/^-?\d{1,9}$/.test(text)) return is;
  return Math.min(Math.max(Number(text), min), max);
}

function scoresOf(text: string | null): readonly number[] {
  const scores = (text ?? '').split(',').map(Number);
  const isFit = scores.length === defaultScores.length && scores.every(Number.isFinite);
  if (text === null || !isFit) return defaultScores;
  return scores.map((x) => Math.min(Math.max(x, -maxScore), maxScore));
}

const member = <T extends string>(text: string | null, all: readonly T[], otherwise: T): T =>
  all.find((each) => each === text) ?? otherwise;

/** The settings of a link's fragment. What it does not say, or says wrongly, is the default. */
export function readFragment(fragment: string): Settings {
  const [view, query] = fragment.replace(/^#/, '').split('?', 2);
  const params = new URLSearchParams(query);
  const read = Object.entries(numbers).map(([name, bounds]) => [
    name,
    wholeNumber(params.get(name), bounds),
  ]);
  return {
    ...defaults,
    ...(Object.fromEntries(read) as Record<NumberName, number>),
    view: member(view, views, defaults.view),
    algorithm: member(params.get('algorithm'), algorithmNames, choiceDefaults.algorithm),
    pattern: member(params.get('pattern'), patterns, choiceDefaults.pattern),
    causal: params.get('causal') === '1',
    scores: scoresOf(params.get('scores')),
  };
}

/** The fragment of a link to what is shown: the view, and what differs from the defaults. */
export function writeFragment(settings: Settings): string {
  const params = new URLSearchParams();
  if (settings.algorithm !== defaults.algorithm) params.set('algorithm', settings.algorithm);
  for (const name of Object.keys(numbers) as NumberName[]) {
    if (settings[name] !== defaults[name]) params.set(name, String(settings[name]));
  }
  if (settings.causal) params.set('causal', '1');
  if (settings.pattern !== defaults.pattern) params.set('pattern', settings.pattern);
  if (settings.scores.join() !== defaultScores.join()) params.set('scores', settings.scores.join());
  const query = params.toString().replaceAll('%2C', ',');
  return `#${settings.view}${query === '' ? '' : `?${query}`}`;
}
