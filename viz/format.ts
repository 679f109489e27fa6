const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** `1,234` */
export const count = (x: number): string => grouped.format(x);

/** Up to four significant digits, for values of a tile. */
export function value(x: number | undefined): string {
  if (x === undefined) return '';
  if (x === Infinity) return '∞';
  if (x === -Infinity) return '−∞';
  const size = Math.abs(x);
  const text = x !== 0 && (size < 1e-3 || size >= 1e5) ? x.toExponential(1) : x.toPrecision(4);
  return text.replaceAll('-', '−');
}

/** `2.2e-16`, or `0`. */
export const difference = (x: number): string =>
  x === 0 ? '0' : x.toExponential(1).replace('-', '−');

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `1.50 GiB` */
export function bytes(x: number): string {
  let unit = 0;
  let rest = x;
  while (rest >= 1023.5 && unit < units.length - 1) {
    rest /= 1024;
    unit++;
  }
  const text = unit === 0 || rest >= 100 ? rest.toFixed(0) : rest.toPrecision(3);
  return `${text} ${units[unit]}`;
}

/** `12.3×` */
export const times = (x: number): string => `${x >= 100 ? count(x) : x.toPrecision(3)}×`;

/** `137 GFLOP` */
export function flops(x: number): string {
  const power = Math.min(Math.max(Math.floor(Math.log10(Math.max(x, 1)) / 3), 0), 5);
  return `${(x / 1000 ** power).toPrecision(3)} ${['', 'k', 'M', 'G', 'T', 'P'][power]}FLOP`;
}

/** `rows 8–15`, `row 8` */
export function span(what: string, [begin, end]: readonly [number, number]): string {
  return end - begin === 1 ? `${what} ${begin}` : `${what}s ${begin}–${end - 1}`;
}

/** 8,192 tokens as `8k`. */
export const tokens = (n: number): string => (n >= 1024 ? `${n / 1024}k` : String(n));
