export interface Mutation {
  /** Which cases of simt_attention look for it. */
  readonly kernel: string;
  readonly fault: string;
  /** Under csrc. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}
export const mutations: readonly Mutation[];
