import { type AlgorithmName, defaults, type Settings } from './settings.js';

/** Settings of the view "Tiles" that are worth a name. */
export interface Preset {
  readonly name: string;
  readonly settings: Partial<Settings>;
}

const algorithm = (name: AlgorithmName) => ({ algorithm: name });

export const presets: readonly Preset[] = [
  { name: 'Full', settings: {} },
  { name: 'Causal', settings: { causal: true } },
  { name: 'Sliding window', settings: { causal: true, window: 16, blockQ: 8, blockK: 8 } },
  { name: 'Longformer', settings: { pattern: 'longformer', n: 96, blockQ: 8, blockK: 8 } },
  { name: 'BigBird', settings: { pattern: 'bigbird', n: 96, blockQ: 8, blockK: 8 } },
  {
    name: 'Packed documents',
    settings: { causal: true, pattern: 'document', n: 96, blockQ: 8, blockK: 8 },
  },
  {
    name: 'Decoding, grouped queries',
    settings: { ...algorithm('decoding'), n: 96, d: 16, group: 4, splits: 4 },
  },
  { name: 'Training', settings: { ...algorithm('backward'), causal: true } },
];

const shown: readonly (keyof Settings)[] = [
  'n',
  'd',
  'blockQ',
  'blockK',
  'splits',
  'window',
  'group',
  'causal',
  'pattern',
];

/** What choosing a preset changes. The algorithm stays, where the preset does not name one. */
export function presetChange(preset: Preset, current: AlgorithmName): Partial<Settings> {
  const plain = Object.fromEntries(
    shown.map((name) => [name, defaults[name]]),
  ) as Partial<Settings>;
  const forward = current === 'decoding' || current === 'backward' ? 'flash2' : current;
  return { ...plain, algorithm: forward, step: 0, row: 0, ...preset.settings };
}

/** Whether what is shown is what the preset would show, at whatever step. */
export function isShown(preset: Preset, settings: Settings): boolean {
  const wanted = { ...settings, ...presetChange(preset, settings.algorithm) };
  return [...shown, 'algorithm' as const].every((name) => wanted[name] === settings[name]);
}
