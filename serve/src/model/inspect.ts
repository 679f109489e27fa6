import type { CutLayer, CutModel } from '../cutter/cut.js';
import { UnsupportedModelError } from '../cutter/refusal.js';
import type { ModelInfo } from '../engine/contract.js';
import type { OnnxTensor } from '../onnx/format.js';
import { byteSize } from '../onnx/tensors.js';
import { type DecoderModel, type DecoderOptions, loadDecoder } from './decoder-model.js';
import { ModelError } from './model-error.js';
import { loadModelText } from './model-text.js';

/** What the cutter found at a layer. */
export interface LayerInspection {
  /** The attention's node. */
  readonly node: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly softcap?: number;
  /** Tokens that a token sees. Default: all before it. */
  readonly window?: number;
  readonly sinks: boolean;
  /** Elements of a head that turn, 0 where position is told in another way or not at all. */
  readonly rotaryDim: number;
}

/** A part between two attentions. */
export interface PartInspection {
  readonly nodes: number;
  /** Of the weights it takes. Parts may share some. */
  readonly weightBytes: number;
}

export interface MemoryInspection {
  /** Of all weights, shared ones once. */
  readonly weightBytes: number;
  /** Keys and values of a token in all layers; int8 has a float32 scale per head beside them. */
  readonly bytesPerToken: Readonly<Record<'float32' | 'float16' | 'bfloat16' | 'int8', number>>;
}

/** What a folder holds, and whether the server can serve it. */
export type Inspection =
  | { readonly served: false; readonly reason: string }
  | {
      readonly served: true;
      readonly info: ModelInfo;
      readonly layout: DecoderModel['settings']['layout'];
      readonly graphFile: string;
      readonly chatTemplate: boolean;
      readonly layers: readonly LayerInspection[];
      readonly parts: readonly PartInspection[];
      readonly memory: MemoryInspection;
    };

/** Looks at a model's folder without loading weights. Says why a model can't be served. */
export async function inspect(folder: string, options: DecoderOptions = {}): Promise<Inspection> {
  try {
    const { info, settings, cut } = loadDecoder(folder, options);
    const { chatTemplate } = await loadModelText(folder);
    const { layout, graphFile } = settings;
    return {
      served: true,
      ...{ info, layout, graphFile, chatTemplate: chatTemplate !== undefined },
      layers: cut.layers.map((layer) => inspectLayer(layer, cut)),
      parts: cut.parts.map(({ nodes, initializers }) => ({
        nodes,
        weightBytes: bytesOf(initializers),
      })),
      memory: inspectMemory(info, cut),
    };
  } catch (error) {
    if (!(error instanceof ModelError || error instanceof UnsupportedModelError)) throw error;
    return { served: false, reason: error.message };
  }
}

function inspectLayer({ attention, sinks, table }: CutLayer, { tables }: CutModel) {
  const { node, heads, kvHeads, headDim, scale, softcap, window } = attention;
  return {
    node: node.name,
    ...{ heads, kvHeads, headDim, scale: scale ?? 1 / Math.sqrt(headDim) },
    ...(softcap === undefined ? {} : { softcap }),
    ...(window === undefined ? {} : { window }),
    sinks: sinks !== undefined,
    rotaryDim: table === undefined ? 0 : 2 * tables[table].short.pairs,
  };
}

function inspectMemory({ layers, kvHeads, headDim }: ModelInfo, { parts }: CutModel) {
  const all = new Map(parts.flatMap(({ initializers }) => initializers).map((t) => [t.name, t]));
  const elements = 2 * layers * kvHeads * headDim;
  return {
    weightBytes: bytesOf([...all.values()]),
    bytesPerToken: {
      float32: 4 * elements,
      float16: 2 * elements,
      bfloat16: 2 * elements,
      int8: elements + 4 * 2 * layers * kvHeads,
    },
  };
}

function bytesOf(tensors: readonly OnnxTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + byteSize(tensor), 0);
}
