/** Marks tensors of every copy of this package (ESM, CommonJS) and holds their native handle. */
export const kHandle: unique symbol = Symbol.for('flash-attention.handle') as never;

/**
 * Gives a class its own name, which messages and util.inspect show: the bundler renames classes
 * that refer to themselves.
 */
export function keepName(type: object, name: string): void {
  Object.defineProperty(type, 'name', { value: name });
}

/** `[2, 16, 8, 64]` */
export function showShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** A value as error messages show it: short, and telling its kind. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value.length > 40 ? `'${value.slice(0, 40)}…'` : `'${value}'`;
    case 'bigint':
      return `${value}n`;
    case 'function':
      return value.name ? `the function ${value.name}` : 'a function';
    case 'object':
      return value === null ? 'null' : showObject(value);
    default:
      return Object.is(value, -0) ? '-0' : String(value);
  }
}

function showObject(value: object): string {
  if (Array.isArray(value)) {
    const flat = value.every((item) => typeof item !== 'object');
    return flat && value.length <= 8
      ? `[${value.map(show).join(', ')}]`
      : `an array of length ${value.length}`;
  }
  if (kHandle in value) {
    const { dtype, shape } = value as unknown as { dtype: string; shape: number[] };
    return `a ${dtype} Tensor of shape ${showShape(shape)}`;
  }
  if (ArrayBuffer.isView(value)) {
    const view = value as ArrayBufferView & { [Symbol.toStringTag]: string; length?: number };
    return `a ${view[Symbol.toStringTag]} of length ${view.length ?? view.byteLength}`;
  }
  const name = value.constructor?.name;
  return name && name !== 'Object' ? `an object of class ${name}` : 'an object';
}
