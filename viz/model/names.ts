// The names of data: how they are written, and which of the colours they have.

/** Colours of the style sheet that stand for data. */
export type DataColor = 'q' | 'k' | 'v' | 'o' | 's' | 'm';

/** The colour of data by its name. A gradient has that of what it is the gradient of. */
export const colorOf: Readonly<Record<string, DataColor>> = {
  ...{ Q: 'q', K: 'k', V: 'v', O: 'o', S: 's', P: 's', m: 'm', l: 'm', lse: 'm', delta: 'm' },
  ...{ dQ: 'q', dK: 'k', dV: 'v', dO: 'o' },
};

/** Data along the keys: its rows are keys. All other rows are queries. */
export const alongKeys: ReadonlySet<string> = new Set(['K', 'V', 'dK', 'dV']);

/** How names are written. */
const glyphs: Readonly<Record<string, string>> = { l: 'ℓ', delta: 'δ' };
export const glyph = (name: string): string => glyphs[name] ?? name;
