import type { IntVector } from '../attention/options.js';
import type { DeviceName } from '../native/device.js';
import { type FloatDType, floatDTypes } from '../tensor/host-tensor.js';
import { concat } from '../tensor/concat.js';
import { dtypeSize } from '../tensor/dtype.js';
import { empty, tensor } from '../tensor/make.js';
import { type Tensor, view } from '../tensor/tensor.js';
import { type AppendedLatents, type AppendedPages, appendKv } from './append.js';
import { slotIn } from './reservation.js';
import { type StaticScales, scalesOfLayer } from './static-scales.js';
import { StepOptionsMemo } from './step-options.js';

/**
 * What keys and values may be kept in. Those of 8 bits have a scale per token and head, or static
 * ones.
 */
export type CacheDType = FloatDType | 'int8' | 'float8_e4m3';

export const cacheDTypes: readonly CacheDType[] = [...floatDTypes, 'int8', 'float8_e4m3'];

/** Whether pages of a dtype have scales. */
export function isQuantized(dtype: CacheDType): boolean {
  return dtype === 'int8' || dtype === 'float8_e4m3';
}

/** What the pages of a cache are. */
export interface PageShape {
  readonly layers: number;
  readonly numPages: number;
  readonly pageSize: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly headDimV: number;
  readonly dtype: CacheDType;
  readonly device: DeviceName;
  /** Each value is the first headDimV elements of its key. */
  readonly latents: boolean;
  /** Of pages in 8 bits, in place of a scale for each row. */
  readonly scales: StaticScales | undefined;
}

/** Consecutive slots. */
export interface Run {
  readonly slot: number;
  rows: number;
}

/** Pages that rows are copied from and to; no vPages of latents, which are their values. */
type Store = AppendedLatents & Partial<AppendedPages>;

/** The tensors of one layer. */
interface Layer {
  /** Of latents `vPages` is a view of `kPages`. */
  readonly pages: AppendedPages;
  /** The pages, and the scales of their rows as pages of rows of one. */
  readonly stores: readonly Store[];
}

/** Keys and values of all pages: a tensor of each per layer, written to in place. */
export class PageMemory {
  readonly shape: PageShape;
  /** Of calls that attend to them. */
  readonly options: StepOptionsMemo;
  /** None once disposed. */
  readonly #layers: Layer[] = [];
  #disposed = false;

  constructor(shape: PageShape) {
    this.shape = shape;
    this.options = new StepOptionsMemo(shape.device);
    try {
      for (let layer = 0; layer < shape.layers; layer++) this.#layers.push(newLayer(shape, layer));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get bytes(): number {
    const { layers, numPages, pageSize, kvHeads, headDim, headDimV, dtype, latents } = this.shape;
    const scales = isQuantized(dtype) ? 2 * dtypeSize.float32 : 0;
    const elements = (headDim + (latents ? 0 : headDimV)) * dtypeSize[dtype];
    const rows = numPages * pageSize;
    return layers * kvHeads * (rows * elements + (this.shape.scales ? 1 : rows) * scales);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** The pages of a layer. */
  layer(layer: number): AppendedPages {
    return this.#layers[layer].pages;
  }

  /** Writes rows that {@link PageMemory.read} gave to slots of a layer, as they are. */
  put(layer: number, rows: readonly Tensor[], slots: IntVector): void {
    let n = 0;
    for (const { kPages, vPages } of this.#layers[layer].stores) {
      const k = rows[n++];
      disposeAll(
        vPages
          ? appendKv(k, rows[n++], kPages, vPages, { slots })
          : appendKv(k, undefined, kPages, undefined, { slots }),
      );
    }
  }

  /** Copies rows to other slots, in a layer: all of them are read before one is written. */
  move(layer: number, runs: readonly Run[], slots: readonly number[]): void {
    const rows = this.#rows(layer, runs);
    try {
      this.put(layer, rows, slots);
    } finally {
      for (const each of rows) each.dispose();
    }
  }

  /**
   * Copies of tokens `begin` to `end` of a sequence in a layer, `[end - begin, kvHeads, dim]` each:
   * k, v unless they are latents, and their scales, of dim 1, where rows have some.
   */
  read(layer: number, pages: ArrayLike<number>, begin: number, end: number): Tensor[] {
    const { pageSize } = this.shape;
    const runs: Run[] = [];
    for (let at = begin, rows = 0; at < end; at += rows) {
      const slot = slotIn(pages, at, pageSize);
      rows = Math.min(pageSize - (at % pageSize), end - at);
      const last = runs.at(-1);
      if (last && last.slot + last.rows === slot) last.rows += rows;
      else runs.push({ slot, rows });
    }
    return this.#rows(layer, runs);
  }

  #rows(layer: number, runs: readonly Run[]): Tensor[] {
    const { stores } = this.#layers[layer];
    return allOrNone(
      stores.flatMap(({ kPages, vPages }) =>
        [kPages, vPages].flatMap((pages) => (pages ? () => rowsOf(pages, runs) : [])),
      ),
    );
  }

  dispose(): void {
    this.#disposed = true;
    for (const { pages, stores } of this.#layers) [pages, ...stores].forEach(disposeAll);
  }
}

function newLayer(shape: PageShape, layer: number): Layer {
  const { numPages, pageSize, kvHeads, headDim, headDimV, dtype, device, latents } = shape;
  const pages = (dim: number) => () => empty([numPages, pageSize, kvHeads, dim], { dtype, device });
  if (latents) {
    const kPages = pages(headDim)();
    const vPages = kPages.slice(null, null, null, [0, headDimV]);
    return { pages: { kPages, vPages }, stores: [{ kPages }] };
  }
  if (!isQuantized(dtype)) {
    const [kPages, vPages] = allOrNone([pages(headDim), pages(headDimV)]);
    return { pages: { kPages, vPages }, stores: [{ kPages, vPages }] };
  }
  const own = shape.scales && scalesOfLayer(shape.scales, kvHeads, layer);
  const scales = (of: Float32Array | undefined) => () =>
    of
      ? tensor(of, [kvHeads], { device })
      : empty([numPages, pageSize, kvHeads], { dtype: 'float32', device });
  const made = allOrNone([pages(headDim), pages(headDimV), scales(own?.k), scales(own?.v)]);
  const [kPages, vPages, kScales, vScales] = made;
  if (own) return { pages: { kPages, vPages, kScales, vScales }, stores: [{ kPages, vPages }] };
  const rows = (of: Tensor) => of.reshape([numPages, pageSize, kvHeads, 1]);
  return {
    pages: { kPages, vPages, kScales, vScales },
    stores: [
      { kPages, vPages },
      { kPages: rows(kScales), vPages: rows(vScales) },
    ],
  };
}

/** What the functions make; when one throws, nothing. */
function allOrNone(functions: readonly (() => Tensor)[]): Tensor[] {
  const made: Tensor[] = [];
  try {
    for (const make of functions) made.push(make());
    return made;
  } catch (error) {
    for (const each of made) each.dispose();
    throw error;
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

function disposeAll({ kPages, vPages, kScales, vScales }: Store): void {
  for (const each of [kPages, vPages, kScales, vScales]) each?.dispose();
}
