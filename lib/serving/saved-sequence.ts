// Sequences as bytes: a safetensors file of `tokens`, the ids as far as they are known, and of
// `keys.<layer>` and `values.<layer>`, [length, kvHeads, dim] without padding; of latents there are
// no values; of a cache in 8 bits also `key_scales.<layer>` and `value_scales.<layer>`, [length,
// kvHeads, 1], or [kvHeads] where they are static.
//
// A file is of the first version that holds what it has to. Version 2: `headDimV` of latents is in
// the metadata, which no tensor tells; and static scales. Version 1 is read as ever.
import { FlashAttentionError, fail } from '../native/errors.js';
import { show, showShape } from '../native/show.js';
import type { TypedArray } from '../tensor/dtype.js';
import { elementsOf, type HostTensor } from '../tensor/host-tensor.js';
import { tensor } from '../tensor/make.js';
import type { Tensor } from '../tensor/tensor.js';
import {
  entryOf,
  type FileDType,
  type Header,
  metadataOf,
  openSafetensors,
  type Refuse,
  safetensorsBytes,
  tensorNames,
} from '../tensor/safetensors.js';
import { checkBytes } from '../tensor/tensor-data.js';
import {
  type CacheDType,
  cacheDTypes,
  isQuantized,
  type PageMemory,
  type PageShape,
} from './page-memory.js';
import { cacheFull, slotIn } from './reservation.js';
import type { SequenceState } from './sequence-state.js';
import { scalesOfLayer } from './static-scales.js';

const format = 'flash-attention.sequence';
const versions: readonly unknown[] = ['1', '2'];

function newMetadata({ latents, headDimV, scales }: PageShape): Record<string, string> {
  if (!latents && !scales) return { format, version: '1' };
  return { format, version: '2', ...(latents && { headDimV: `${headDimV}` }) };
}

/** A tensor of a layer in a file. */
interface Part {
  readonly name: string;
  readonly dim: number;
  readonly dtype: CacheDType;
}

/** In the order of {@link PageMemory.read}. */
function partsOf({ headDim, headDimV, dtype, latents, scales }: PageShape, layer: number): Part[] {
  const keys: Part = { name: `keys.${layer}`, dim: headDim, dtype };
  if (latents) return [keys];
  const rows: Part[] = [keys, { name: `values.${layer}`, dim: headDimV, dtype }];
  if (!isQuantized(dtype) || scales) return rows;
  const scale = { dim: 1, dtype: 'float32' } as const;
  return [
    ...rows,
    { name: `key_scales.${layer}`, ...scale },
    { name: `value_scales.${layer}`, ...scale },
  ];
}

/** The static scales of a layer, by their names in a file. */
function namedScales({ scales, kvHeads }: PageShape, layer: number): [string, Float32Array][] {
  if (!scales) return [];
  const { k, v } = scalesOfLayer(scales, kvHeads, layer);
  return [
    [`key_scales.${layer}`, k],
    [`value_scales.${layer}`, v],
  ];
}

/** Consecutive tokens of a sequence. */
export interface TokenRange {
  readonly begin: number;
  readonly end: number;
}

export async function saveSequence(
  state: SequenceState,
  memory: PageMemory,
  { begin, end }: TokenRange = { begin: 0, end: state.length },
): Promise<Uint8Array<ArrayBuffer>> {
  const ids = Int32Array.from(state.ids.slice(begin, end));
  const length = end - begin;
  const { layers, kvHeads } = memory.shape;
  const tensors: Record<string, HostTensor<FileDType>> = {
    tokens: { dtype: 'int32', shape: [ids.length], data: ids },
  };
  // Everything is enqueued before the first wait: what comes after may write to these pages.
  const reads = Array.from({ length: length === 0 ? 0 : layers }, (_, layer) => {
    return Promise.all(memory.read(layer, state.pages, begin, end).map((each) => each.take()));
  });
  const rows = await Promise.all(reads);
  for (let layer = 0; layer < layers; layer++) {
    partsOf(memory.shape, layer).forEach(({ name, dim, dtype }, n) => {
      const data = rows[layer]?.[n] ?? elementsOf(new ArrayBuffer(0), dtype);
      tensors[name] = { dtype, shape: [length, kvHeads, dim], data } as HostTensor<FileDType>;
    });
    for (const [name, data] of namedScales(memory.shape, layer)) {
      tensors[name] = { dtype: 'float32', shape: [kvHeads], data } as HostTensor<FileDType>;
    }
  }
  return safetensorsBytes(tensors, newMetadata(memory.shape));
}

/** Fills a new sequence with what was saved. When it throws, nothing has changed. */
export function loadSequence(
  bytes: unknown,
  state: SequenceState,
  memory: PageMemory,
  maxSeqlen: number,
): void {
  const saved = readSaved(bytes, memory.shape);
  if (saved.length > maxSeqlen) {
    const expected = `of at most ${maxSeqlen} tokens, maxSeqlen of the cache,`;
    fail('ERR_SHAPE', 'bytes', expected, `${saved.length}`);
  }
  const { pool, pageSize } = state;
  const needed = Math.ceil(saved.length / pageSize);
  if (needed > pool.available) throw cacheFull('bytes', needed, pool.available);
  const pages = Array.from({ length: needed }, () => pool.take());
  try {
    const slots = Int32Array.from({ length: saved.length }, (_, i) => slotIn(pages, i, pageSize));
    if (saved.length > 0) writeSaved(saved, slots, memory);
  } catch (error) {
    pool.release(pages);
    throw error;
  }
  state.grow(pages, saved.length, saved.ids);
}

/** Writes what was saved to slots of all layers. */
export function writeSaved(saved: Saved, slots: Int32Array, memory: PageMemory): void {
  const { layers, kvHeads, device } = memory.shape;
  for (let layer = 0; layer < layers; layer++) {
    const rows: Tensor[] = [];
    try {
      for (const part of partsOf(memory.shape, layer)) {
        const { dim, dtype } = part;
        rows.push(tensor(saved.elements(part), [saved.length, kvHeads, dim], { dtype, device }));
      }
      memory.put(layer, rows, slots);
    } finally {
      for (const each of rows) each.dispose();
    }
  }
}

/** A saved sequence in which everything is as it must be. */
export interface Saved {
  readonly length: number;
  readonly ids: Int32Array;
  elements(part: Part): TypedArray<FileDType>;
}

export function readSaved(value: unknown, shape: PageShape): Saved {
  const { header, data } = openSafetensors(checkBytes(value, 'bytes'), refuse);
  checkFormat(header, shape);
  const length = lengthOf(header);
  const read = <D extends FileDType>(name: string, dtype: D) => {
    const { begin, end } = entryOf(header, name, data.length, [dtype], refuse);
    return elementsOf(data.slice(begin, end).buffer, dtype);
  };
  const expectEntry = (name: string, dtype: FileDType, expected: readonly number[]) => {
    const found = entryOf(header, name, data.length, fileDTypes, refuse);
    if (showShape(found.shape) !== showShape(expected)) {
      fail('ERR_SHAPE', 'bytes', `of ${name} ${showShape(expected)}`, showShape(found.shape));
    }
    if (found.dtype !== dtype) {
      fail('ERR_DTYPE', 'bytes', `of ${name} in ${dtype}, like the cache,`, found.dtype);
    }
  };
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const { name, dim, dtype } of partsOf(shape, layer)) {
      expectEntry(name, dtype, [length, shape.kvHeads, dim]);
    }
    for (const [name, own] of namedScales(shape, layer)) {
      expectEntry(name, 'float32', [shape.kvHeads]);
      const found = read(name, 'float32');
      const other = own.findIndex((x, head) => x !== found[head]);
      if (other < 0) continue;
      const expected = `of ${name} ${own[other]} of head ${other}, like the cache,`;
      fail('ERR_OPTION', 'bytes', expected, `${found[other]}`);
    }
  }
  const names = 1 + shape.layers * (partsOf(shape, 0).length + namedScales(shape, 0).length);
  const found = tensorNames(header).length;
  if (found !== names) refuse(`has ${found} tensors, not ${names}`);
  const ids = read('tokens', 'int32');
  if (ids.length > length || ids.some((id) => id < 0)) {
    refuse(`has ${ids.length} token ids, for ${length} tokens, or negative ones`);
  }
  return { length, ids, elements: ({ name, dtype }) => read(name, dtype) };
}

const fileDTypes = [...cacheDTypes, 'int32'] as const;

const refuse: Refuse = (what) => {
  throw new FlashAttentionError(
    'ERR_TYPE',
    `Expected bytes to be what sequence.save() gave but received a file that ${what}.`,
    { argument: 'bytes' },
  );
};

function checkFormat(header: Header, { layers, latents, headDimV }: PageShape): void {
  const found = metadataOf(header);
  if (found.format !== format || !versions.includes(found.version)) {
    refuse(`is not of format ${format}, version 1 or 2`);
  }
  const names = tensorNames(header);
  const saved = names.filter((name) => name.startsWith('keys.')).length;
  if (saved !== layers) fail('ERR_SHAPE', 'bytes', `of ${layers} layers`, `${saved}`);
  if (names.some((name) => name.startsWith('values.')) === latents) {
    const [expected, received] = latents ? ['no', 'some'] : ['some', 'none'];
    fail('ERR_SHAPE', 'bytes', `of ${expected} values, like the cache,`, received);
  }
  if (latents && found.version !== '1' && found.headDimV !== `${headDimV}`) {
    const expected = `of latents with headDimV ${headDimV}, that of the cache,`;
    fail('ERR_SHAPE', 'bytes', expected, show(found.headDimV));
  }
}

function lengthOf(header: Header): number {
  const { shape } = (header['keys.0'] ?? {}) as { shape?: readonly unknown[] };
  return typeof shape?.[0] === 'number' ? shape[0] : 0;
}

/** How many tokens were saved. */
export function savedTokens(bytes: Uint8Array<ArrayBuffer>): number {
  return lengthOf(openSafetensors(bytes, refuse).header);
}
