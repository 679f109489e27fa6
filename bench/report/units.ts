/** Three significant digits. */
export function digits(value: number): string {
  if (value === 0) return '0';
  const places = 2 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(places, 0), 12));
}

/** `12.3 ms` */
export function showTime(seconds: number): string {
  if (seconds >= 0.9995) return `${digits(seconds)} s`;
  if (seconds >= 0.9995e-3) return `${digits(seconds * 1e3)} ms`;
  return `${digits(seconds * 1e6)} µs`;
}

/** `84.0 MiB` */
export function showBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  const unit = Math.min(Math.floor(Math.log2(Math.max(Math.abs(bytes), 1)) / 10), 3);
  return `${digits(bytes / 1024 ** unit)} ${units[unit]}`;
}

/** `143 GFLOP/s`, `35.1 GB/s` */
export const showRate = (perSecond: number, unit: 'FLOP' | 'B'): string =>
  `${digits(perSecond / 1e9)} G${unit}/s`;

export const showPercent = (share: number): string => `${(share * 100).toFixed(0)} %`;

/** `1.94x` */
export const showFactor = (factor: number): string => `${digits(factor)}x`;

/** `1024`, `64 Ki`: lengths are powers of two, mostly. */
export const showLength = (length: number): string =>
  length >= 8192 && length % 1024 === 0 ? `${length / 1024}k` : String(length);
