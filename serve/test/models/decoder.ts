import { attribute } from '../../src/onnx/attributes.js';
import {
  elementType,
  makeNode,
  makeValue,
  type OnnxAttribute,
  type OnnxModel,
  type OnnxValue,
} from '../../src/onnx/format.js';
import { makeTensor } from '../../src/onnx/tensors.js';
import { GraphBuilder, type WeightSource } from './graph-builder.js';
import type { Rope, Variant } from './variants.js';

/** A decoder as a graph that onnxruntime-genai's builder would write. */
export function buildDecoder(variant: Variant, source: WeightSource): OnnxModel {
  const builder = new GraphBuilder(source, variant.weights);
  const decoder = new Decoder(variant, builder);
  decoder.build();
  return {
    irVersion: 10,
    opsetImport: [
      { domain: '', version: 21 },
      { domain: 'com.microsoft', version: 1 },
    ],
    graph: {
      name: 'main_graph',
      node: builder.nodes,
      initializer: builder.initializers,
      ...decoder.values(),
      valueInfo: [],
    },
  };
}

class Decoder {
  readonly #variant: Variant;
  readonly #graph: GraphBuilder;
  #lengths: [last: string, total: string] = ['', ''];

  constructor(variant: Variant, graph: GraphBuilder) {
    this.#variant = variant;
    this.#graph = graph;
  }

  build(): void {
    const { layers, hidden, vocab, weights, tied, lastOnly, finalSoftcap } = this.#variant;
    const graph = this.#graph;
    this.#maskLengths();
    const [embedded, table] = this.#embedding();
    let residual = embedded;
    let skip: string | undefined;
    for (let layer = 0; layer < layers; layer++)
      [residual, skip] = this.#layer(layer, residual, skip);
    let x = this.#join('/model/final_norm', residual, skip)[0];
    if (lastOnly === 'gather') {
      const last = graph.op('Gather', '/lm_head/prune/Gather', [x, graph.int(-1)], {
        axis: attribute.int(1),
      });
      x = graph.op('Unsqueeze', '/lm_head/prune/Unsqueeze', [last, graph.ints(1)]);
    } else if (lastOnly === 'num_logits_to_keep') {
      const count = graph.op('Reshape', '/lm_head/Reshape', ['num_logits_to_keep', graph.ints(1)]);
      const start = graph.op('Neg', '/lm_head/Neg', [count]);
      const end = graph.constant('end', BigInt64Array.of(2n ** 63n - 1n), [1]);
      x = graph.op('Slice', '/lm_head/Slice', [x, start, end, graph.ints(1)]);
    }
    let logits: string;
    if (tied && typeof weights === 'object') {
      logits = graph.int4Product('/lm_head', x, table, [hidden, vocab]);
    } else if (tied) {
      const perm = attribute.ints([1, 0]);
      const weight = graph.op('Transpose', '/lm_head/Transpose', [table], { perm });
      logits = graph.op('MatMul', '/lm_head/MatMul', [x, weight]);
    } else {
      logits = graph.projection('/lm_head', x, [hidden, vocab]);
    }
    if (finalSoftcap) logits = this.#softcap(logits, finalSoftcap);
    const last = graph.nodes[graph.nodes.length - 1];
    last.output[0] = 'logits';
  }

  /** Rows of the ids, and the table: its name, or what names of an int4 one begin with. */
  #embedding(): [embedded: string, table: string] {
    const { hidden, vocab, weights, tied } = this.#variant;
    const graph = this.#graph;
    const name = 'model.embed_tokens.weight';
    const values = graph.source(name, vocab * hidden, { deviation: 0.5 });
    const base = '/model/embed_tokens';
    if (!tied || typeof weights === 'string') {
      const table = graph.matrix(name, values, [vocab, hidden]);
      return [graph.op('Gather', `${base}/Gather`, [table, 'input_ids']), table];
    }
    const [packed, scales] = graph.int4Weights(name, values, [hidden, vocab]);
    const rows = graph.op('Reshape', `${base}/Reshape`, [packed, graph.ints(vocab, hidden / 2)]);
    const attributes = { bits: 4, block_size: 32, gather_axis: 0, quantize_axis: 1 };
    const embedded = graph.op(
      'GatherBlockQuantized',
      `${base}/GatherBlockQuantized`,
      [rows, 'input_ids', scales],
      Object.fromEntries(
        Object.entries(attributes).map(([key, value]) => [key, attribute.int(value)]),
      ),
      'com.microsoft',
    );
    return [embedded, name];
  }

  values(): { input: OnnxValue[]; output: OnnxValue[] } {
    const { layers, kvHeads, headDim, vocab, lastOnly, rotary } = this.#variant;
    const { int64, float32 } = elementType;
    const input = [
      makeValue('input_ids', int64, ['batch_size', 'sequence_length']),
      makeValue('attention_mask', int64, ['batch_size', 'total_sequence_length']),
    ];
    if (rotary === 'nodes') {
      input.push(makeValue('position_ids', int64, ['batch_size', 'sequence_length']));
    }
    if (lastOnly === 'num_logits_to_keep') input.push(makeValue('num_logits_to_keep', int64, []));
    const output = [makeValue('logits', float32, ['batch_size', 'sequence_length', vocab])];
    const cache = (name: string, length: string) =>
      makeValue(name, float32, ['batch_size', kvHeads, length, headDim]);
    for (let layer = 0; layer < layers; layer++) {
      for (const what of ['key', 'value']) {
        input.push(cache(`past_key_values.${layer}.${what}`, 'past_sequence_length'));
        output.push(cache(`present.${layer}.${what}`, 'total_sequence_length'));
      }
    }
    return { input, output };
  }

  /** seqlens_k and total_sequence_length of the attention nodes. */
  #maskLengths(): void {
    const graph = this.#graph;
    const base = '/model/attn_mask_reformat/attn_mask_subgraph';
    const to = attribute.int(elementType.int32);
    const summed = graph.op('ReduceSum', `${base}/ReduceSum`, ['attention_mask', graph.ints(1)], {
      keepdims: attribute.int(0),
    });
    const last = graph.op('Sub', `${base}/Sub`, [summed, graph.ints(1)]);
    const shape = graph.op('Shape', `${base}/Shape`, ['attention_mask']);
    const total = graph.op('Gather', `${base}/Gather`, [shape, graph.int(1)]);
    this.#lengths = [
      graph.op('Cast', `${base}/Sub/Cast`, [last], { to }),
      graph.op('Cast', `${base}/Gather/Cast`, [total], { to }),
    ];
  }

  #layer(layer: number, residual: string, skip: string | undefined): [string, string | undefined] {
    const { hidden, heads, headDim, postNorms } = this.#variant;
    const graph = this.#graph;
    const base = `/model/layers.${layer}`;
    const [x, sum] = this.#join(`${base}/input_layernorm`, residual, skip);
    let attended = graph.projection(`${base}/attn/o_proj`, this.#attention(layer, x), [
      heads * headDim,
      hidden,
    ]);
    if (postNorms) attended = graph.norm(`${base}/post_attention_layernorm`, attended, hidden);
    const name = `${base}/${postNorms ? 'pre_feedforward' : 'post_attention'}_layernorm`;
    const [y, next] = this.#join(name, sum, attended);
    let out = this.#variant.experts ? this.#experts(base, y) : this.#mlp(base, y);
    if (postNorms) out = graph.norm(`${base}/post_feedforward_layernorm`, out, hidden);
    return [next, out];
  }

  #mlp(base: string, x: string): string {
    const { hidden, mlp } = this.#variant;
    const graph = this.#graph;
    const gate = graph.projection(`${base}/mlp/gate_proj`, x, [hidden, mlp]);
    const up = graph.projection(`${base}/mlp/up_proj`, x, [hidden, mlp]);
    const sigmoid = graph.op('Sigmoid', `${base}/mlp/act_fn/Sigmoid`, [gate]);
    const activated = graph.op('Mul', `${base}/mlp/act_fn/Mul`, [gate, sigmoid]);
    const both = graph.op('Mul', `${base}/mlp/Mul`, [activated, up]);
    return graph.projection(`${base}/mlp/down_proj`, both, [mlp, hidden]);
  }

  /** A router, whose scores get one row per token in both ways that builders write. */
  #experts(base: string, x: string): string {
    const { hidden, mlp, experts = 0 } = this.#variant;
    const graph = this.#graph;
    const router = `${base}/moe/router`;
    const scores = graph.projection(router, x, [hidden, experts]);
    let shape = graph.ints(-1, experts);
    if (base.endsWith('0')) {
      const count = graph.op('Gather', `${router}/Gather`, [
        graph.op('Shape', `${router}/Shape`, [scores]),
        graph.int(2),
      ]);
      const last = graph.op('Unsqueeze', `${router}/Unsqueeze`, [count, graph.ints(0)]);
      shape = graph.op('Concat', `${router}/Concat`, [graph.ints(-1), last], {
        axis: attribute.int(0),
      });
    }
    const weights = (what: string, [rows, columns]: [number, number]) => {
      const name = `${base}/moe/${what}`;
      const values = graph.source(name, experts * rows * columns, {
        deviation: 1 / Math.sqrt(columns),
      });
      return graph.constant(name, values, [experts, rows, columns]);
    };
    return graph.op(
      'MoE',
      `${base}/moe`,
      [
        ...[x, graph.op('Reshape', `${router}/Reshape`, [scores, shape])],
        ...[weights('gate_up', [2 * mlp, hidden]), '', weights('down', [hidden, mlp])],
      ],
      {
        k: attribute.int(2),
        activation_type: attribute.string('swiglu'),
        swiglu_fusion: attribute.int(1),
        normalize_routing_weights: attribute.int(1),
      },
      'com.microsoft',
    );
  }

  /** The norm of residual + skip, and that sum. */
  #join(name: string, residual: string, skip: string | undefined): [string, string] {
    const { hidden, postNorms } = this.#variant;
    const graph = this.#graph;
    if (skip === undefined) return [graph.norm(`${name}/LayerNorm`, residual, hidden), residual];
    if (!postNorms) return graph.skipNorm(`${name}/SkipLayerNorm`, residual, skip, hidden);
    const sum = graph.op('Add', `${name}/Add`, [residual, skip]);
    return [graph.norm(`${name}/LayerNorm`, sum, hidden), sum];
  }

  #attention(layer: number, x: string): string {
    const variant = this.#variant;
    const { hidden, heads, kvHeads, headDim, packed, bias, rotary } = variant;
    const graph = this.#graph;
    const base = `/model/layers.${layer}/attn`;
    const rope = variant.rope(layer);
    const tables = rope ? this.#tables(rope) : ['', ''];
    let [q, k, v] = ['', '', ''];
    if (packed) {
      q = graph.projection(`${base}/qkv_proj`, x, [hidden, (heads + 2 * kvHeads) * headDim], bias);
    } else {
      const project = (what: string, count: number) =>
        graph.projection(`${base}/${what}_proj`, x, [hidden, count * headDim], bias);
      [q, k, v] = [project('q', heads), project('k', kvHeads), project('v', kvHeads)];
    }
    const norms = ['', ''];
    if (variant.qkNorm === 'nodes') {
      [q, k] = [
        this.#headNorm(`${base}/q_norm`, q, heads),
        this.#headNorm(`${base}/k_norm`, k, kvHeads),
      ];
    } else if (variant.qkNorm === 'inputs') {
      ['q_norm', 'k_norm'].forEach((what, i) => {
        const name = `${base}/${what}/LayerNorm.weight`;
        const weight = graph.source(name, headDim, { deviation: 0.1, mean: 1 });
        norms[i] = graph.constant(name, weight, [headDim]);
      });
    }
    if (rotary === 'nodes') {
      const rotate = (name: string, each: string) =>
        graph.op(
          'RotaryEmbedding',
          `${base}/${name}_rotary/RotaryEmbedding`,
          [each, 'position_ids', ...tables],
          { num_heads: attribute.int(0), interleaved: attribute.int(0) },
          'com.microsoft',
        );
      [q, k] = [rotate('q', q), rotate('k', k)];
    }
    const inAttention = rope !== undefined && rotary === 'attention';
    const name = `${base}/GroupQueryAttention`;
    const input = [
      ...[q, k, v, `past_key_values.${layer}.key`, `past_key_values.${layer}.value`],
      ...this.#lengths,
      ...(inAttention ? tables : ['', '']),
      ...['', '', this.#sinks(base), '', '', ...norms],
    ];
    while (input[input.length - 1] === '') input.pop();
    const output = [`${name}/output_0`, `present.${layer}.key`, `present.${layer}.value`];
    graph.contrib('GroupQueryAttention', name, [input, output], this.#attributes(layer, rope));
    return output[0];
  }

  #attributes(layer: number, rope: Rope | undefined): Record<string, OnnxAttribute | undefined> {
    const { heads, kvHeads, headDim, scale, softcap, window, smoothSoftmax, rotary } =
      this.#variant;
    return {
      num_heads: attribute.int(heads),
      kv_num_heads: attribute.int(kvHeads),
      scale: attribute.float(scale ?? 1 / Math.sqrt(headDim)),
      local_window_size: attribute.int(window?.(layer) ?? -1),
      softcap: attribute.float(softcap ?? 0),
      do_rotary: attribute.int(rope && rotary === 'attention' ? 1 : 0),
      rotary_interleaved: attribute.int(rope?.interleaved ? 1 : 0),
      smooth_softmax: smoothSoftmax ? attribute.int(1) : undefined,
    };
  }

  #sinks(base: string): string {
    const { heads, sinks } = this.#variant;
    if (!sinks) return '';
    const values = this.#graph.source(`${base}.sinks`, heads, { deviation: 1 });
    return this.#graph.constant(`${base}.sinks`, values, [heads]);
  }

  #headNorm(base: string, x: string, heads: number): string {
    const { headDim } = this.#variant;
    const graph = this.#graph;
    const split = graph.op('Reshape', `${base}/Reshape_1`, [x, graph.ints(0, -1, headDim)]);
    const normed = graph.norm(`${base}/LayerNorm`, split, headDim);
    return graph.op('Reshape', `${base}/Reshape_2`, [normed, graph.ints(0, -1, heads * headDim)]);
  }

  /** cos and sin, one pair for all layers of a theta. */
  #tables(rope: Rope): string[] {
    const { longRope, context } = this.#variant;
    const graph = this.#graph;
    const suffix = rope.theta === 10_000 ? '' : `_${rope.theta}`;
    if (longRope === undefined) {
      const { cos, sin, dims } = this.#angles(rope, context, 1);
      return [
        graph.constant(`cos_cache${suffix}`, cos, dims),
        graph.constant(`sin_cache${suffix}`, sin, dims),
      ];
    }
    if (graph.nodes.some(({ opType }) => opType === 'If')) return ['cos_cache', 'sin_cache'];
    const base = '/model/rotemb_caches_subgraph';
    const limit = graph.constant(`${base}/limit`, Int32Array.of(longRope), []);
    const condition = graph.op('Greater', `${base}/Greater`, [this.#lengths[1], limit]);
    const branch = (kind: string, rows: number, stretch: number) => {
      const { cos, sin, dims } = this.#angles(rope, rows, stretch);
      const constant = (name: string, data: Float32Array) =>
        makeNode('Constant', name, [[], [name]], {
          value: attribute.tensor(makeTensor(name, data, dims)),
        });
      const names = [`cos_cache_${kind}`, `sin_cache_${kind}`];
      const output = names.map((name) => makeValue(name, elementType.float32, ['rows', dims[1]]));
      const node = [constant(names[0], cos), constant(names[1], sin)];
      const rest = { initializer: [], input: [], valueInfo: [] };
      return attribute.graph({ name: `${kind}_rotemb_caches_graph`, node, output, ...rest });
    };
    graph.nodes.push(
      makeNode('If', `${base}/If`, [[condition], ['cos_cache', 'sin_cache']], {
        then_branch: branch('large', context, 4),
        else_branch: branch('small', longRope, 1),
      }),
    );
    return ['cos_cache', 'sin_cache'];
  }

  #angles({ theta, dim = this.#variant.headDim }: Rope, rows: number, stretch: number) {
    const pairs = dim / 2;
    const angle = (n: number) => {
      const frequency = theta ** (-(n % pairs) / pairs) / stretch ** ((n % pairs) / pairs);
      return Math.floor(n / pairs) * frequency;
    };
    const length = rows * pairs;
    return {
      cos: Float32Array.from({ length }, (_, n) => Math.cos(angle(n))),
      sin: Float32Array.from({ length }, (_, n) => Math.sin(angle(n))),
      dims: [rows, pairs],
    };
  }

  #softcap(x: string, cap: number): string {
    const graph = this.#graph;
    const scaled = graph.op('Div', '/lm_head/softcap/Div', [x, graph.float(cap)]);
    const bounded = graph.op('Tanh', '/lm_head/softcap/Tanh', [scaled]);
    return graph.op('Mul', '/lm_head/softcap/Mul', [bounded, graph.float(cap)]);
  }
}
