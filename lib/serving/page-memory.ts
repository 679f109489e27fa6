import type { DeviceName } from '../native/device.js';
import type { FloatDType } from '../tensor/host-tensor.js';
import { concat } from '../tensor/concat.js';
import { dtypeSize } from '../tensor/dtype.js';
import { empty } from '../tensor/make.js';
import { type Tensor, view } from '../tensor/tensor.js';
import { type AppendedPages, type AppendOptions, appendKv } from './append.js';
import { StepOptionsMemo } from './step-options.js';

/** What the pages of a cache are. */
export interface PageShape {
  readonly layers: number;
  readonly numPages: number;
  readonly pageSize: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly headDimV: number;
  readonly dtype: FloatDType;
  readonly device: DeviceName;
}

/** Consecutive slots. */
export interface Run {
  readonly slot: number;
  rows: number;
}

/** Keys and values of all pages: a tensor of each per layer, written to in place. */
export class PageMemory {
  readonly shape: PageShape;
  /** Of calls that attend to them. */
  readonly options: StepOptionsMemo;
  /** Tensors of each layer. None once disposed. */
  readonly #layers: AppendedPages[] = [];
  #disposed = false;

  constructor(shape: PageShape) {
    this.shape = shape;
    this.options = new StepOptionsMemo(shape.device);
    const { layers, numPages, pageSize, kvHeads, headDim, headDimV, dtype, device } = shape;
    const pages = (dim: number) => empty([numPages, pageSize, kvHeads, dim], { dtype, device });
    try {
      for (let layer = 0; layer < layers; layer++) {
        const kPages = pages(headDim);
        try {
          this.#layers.push({ kPages, vPages: pages(headDimV) });
        } catch (error) {
          kPages.dispose();
          throw error;
        }
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get bytes(): number {
    const { layers, numPages, pageSize, kvHeads, headDim, headDimV, dtype } = this.shape;
    return layers * numPages * pageSize * kvHeads * (headDim + headDimV) * dtypeSize[dtype];
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** The pages of a layer. */
  layer(layer: number): AppendedPages {
    return this.#layers[layer];
  }

  /** As {@link appendKv} into the pages of a layer. */
  append(layer: number, k: Tensor, v: Tensor, options: AppendOptions): AppendedPages {
    const { kPages, vPages } = this.#layers[layer];
    return appendKv(k, v, kPages, vPages, options);
  }

  /** Copies rows to other slots, in a layer: all of them are read before one is written. */
  move(layer: number, runs: readonly Run[], slots: readonly number[]): void {
    const [k, v] = this.#rows(layer, runs);
    try {
      disposeAll(this.append(layer, k, v, { slots }));
    } finally {
      k.dispose();
      v.dispose();
    }
  }

  /** Copies of the first tokens of a sequence in a layer: `[length, kvHeads, dim]` each. */
  read(layer: number, pages: ArrayLike<number>, length: number): [k: Tensor, v: Tensor] {
    const { pageSize } = this.shape;
    const runs: Run[] = [];
    for (let begin = 0, i = 0; begin < length; begin += pageSize, i++) {
      const slot = pages[i] * pageSize;
      const rows = Math.min(pageSize, length - begin);
      const last = runs.at(-1);
      if (last && last.slot + last.rows === slot) last.rows += rows;
      else runs.push({ slot, rows });
    }
    return this.#rows(layer, runs);
  }

  #rows(layer: number, runs: readonly Run[]): [k: Tensor, v: Tensor] {
    const { kPages, vPages } = this.#layers[layer];
    const k = rowsOf(kPages, runs);
    try {
      return [k, rowsOf(vPages, runs)];
    } catch (error) {
      k.dispose();
      throw error;
    }
  }

  dispose(): void {
    this.#disposed = true;
    for (const layer of this.#layers) disposeAll(layer);
  }
}

/** Rows of pages one behind the other, as a tensor of their own. */
function rowsOf(pages: Tensor, runs: readonly Run[]): Tensor {
  const [, , heads, dim] = pages.shape;
  const [, row, ...strides] = pages.strides;
  const views: Tensor[] = [];
  try {
    for (const { slot, rows } of runs) {
      views.push(view(pages, [rows, heads, dim], [row, ...strides], slot * row));
    }
    return concat(views, 0);
  } finally {
    for (const each of views) each.dispose();
  }
}

export function disposeAll({ kPages, vPages }: AppendedPages): void {
  kPages.dispose();
  vPages.dispose();
}
