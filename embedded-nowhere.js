// In place of embedded.cjs, where nothing can be embedded.
export function embedded() {
  return undefined;
}
