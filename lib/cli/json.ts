/** JSON for people and programs; infinities and NaN, which JSON lacks, as strings. */
export function toJson(value: unknown): string {
  const replace = (_: string, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? String(item) : item;
  return JSON.stringify(value, replace, 2);
}
