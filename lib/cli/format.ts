import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/**
 * Whether to colour text on `stream`: NO_COLOR wins (no-color.org), then FORCE_COLOR, then the
 * terminal.
 */
export function hasColor(
  stream: { isTTY?: boolean; hasColors?(): boolean },
  env: NodeJS.ProcessEnv = process.env,
): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR) return env.FORCE_COLOR !== '0';
  return stream.isTTY === true && (stream.hasColors?.() ?? false);
}

/** Styled where stdout shows styles, else as it is. */
export function paint(style: Style, text: string): string {
  return hasColor(process.stdout) ? styleText(style, text) : text;
}

/** Three significant digits: 0.00123, 12.3, 1230. */
function digits(value: number): string {
  const rounded = Number(value.toPrecision(3)); // 9.996 has one place less than it seems
  const places = rounded === 0 ? 0 : 2 - Math.floor(Math.log10(Math.abs(rounded)));
  return value.toFixed(Math.min(Math.max(places, 0), 20));
}

function scaled(value: number, step: number, units: readonly string[]): string {
  let unit = 0;
  let rest = value;
  while (rest >= step * 0.9995 && unit < units.length - 1) {
    rest /= step;
    unit++;
  }
  return `${unit === 0 ? rest : digits(rest)} ${units[unit]}`;
}

/** `84.0 MiB` */
export function showBytes(bytes: number): string {
  return scaled(bytes, 1024, ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
}

/** `12.3 ms` */
export function showSeconds(seconds: number): string {
  if (seconds >= 0.9995) return `${digits(seconds)} s`;
  return seconds >= 0.9995e-3 ? `${digits(seconds * 1e3)} ms` : `${digits(seconds * 1e6)} µs`;
}

/**
 * `123 GFLOP/s`; GFLOP also where TFLOP would be shorter, because that is what peaks are compared
 * in.
 */
export function showRate(flops: number, seconds: number): string {
  return `${digits(flops / seconds / 1e9)} GFLOP/s`;
}

/** `137 GFLOP` */
export function showFlops(flops: number): string {
  return `${digits(flops / 1e9)} GFLOP`;
}

/** `1,234,567` */
export function showCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** Errors and tolerances: `2.1e-3`. */
export function showError(error: number): string {
  return error === 0 || !Number.isFinite(error) ? String(error) : error.toExponential(1);
}

/**
 * Lines of a label and a text, the texts below each other; further lines of a text stay in its
 * column.
 */
export function showTable(rows: readonly (readonly [label: string, text: string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length)) + 2;
  return rows
    .map(([label, text]) => {
      const lines = text.split('\n').join(`\n${' '.repeat(width)}`);
      return `${paint('dim', label.padEnd(width))}${lines}`;
    })
    .join('\n');
}
