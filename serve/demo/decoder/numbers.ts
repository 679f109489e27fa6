/** Training computes in float32; its tests also in float64. */
export type Numbers = Float32Array | Float64Array;

/** So many zeros of the same type. */
export function zerosLike(numbers: Numbers, length: number): Numbers {
  return numbers instanceof Float32Array ? new Float32Array(length) : new Float64Array(length);
}

/** Something that training changes. */
export interface Parameter {
  readonly name: string;
  /** Row-major. */
  readonly dims: readonly number[];
  readonly values: Numbers;
  /** Of the loss; passes add to it. */
  readonly gradient: Numbers;
}
