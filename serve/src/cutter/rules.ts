import { intAttribute, intsAttribute } from '../onnx/attributes.js';
import type { OnnxNode } from '../onnx/format.js';
import type { Constant, Tokens } from './dependence.js';

/**
 * What an operator makes of its inputs, one of which at least is `tokens` and none `lengths` or
 * `refused`; or why it may look across tokens. Undefined inputs are those left out.
 */
export type Rule = (node: OnnxNode, inputs: readonly Input[]) => Tokens | string;
export type Input = Constant | Tokens | undefined;

const isTokens = (input: Input): input is Tokens => input?.kind === 'tokens';
const isConstant = (input: Input): input is Constant => input?.kind === 'constant';
const product = (values: readonly number[]) => values.reduce((a, b) => a * b, 1);

/** An axis counted from the front. */
function fromFront(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** The first input, when it has tokens and the others are weights. */
function tokensAndWeights(inputs: readonly Input[]): Tokens | string {
  const [first, ...weights] = inputs;
  if (!isTokens(first)) return 'has tokens in other inputs than its first';
  return weights.some(isTokens) ? 'takes tokens for weights' : first;
}

/** Element by element, with broadcasting. */
const elementwise: Rule = (_, inputs) => {
  const tokens = inputs.filter(isTokens);
  const rank = Math.max(...tokens.map((each) => each.rank));
  const lead = Math.max(...tokens.map((each) => each.lead));
  if (tokens.some((each) => each.rank !== rank)) return 'combines tensors of different ranks';
  for (const constant of inputs.filter(isConstant)) {
    const { dims } = constant;
    if (dims === undefined) return 'combines tokens with a constant of unknown shape';
    const aligned = [...Array(Math.max(0, rank - dims.length)).fill(1), ...dims];
    if (aligned.length > rank || aligned.slice(0, lead + 1).some((dim) => dim !== 1)) {
      return 'combines tokens with a constant that differs among them';
    }
  }
  const oneAxis = rank === lead + 2;
  const widths = [
    ...tokens.map(({ width }) => width ?? Number.NaN),
    ...inputs.filter(isConstant).map(({ dims = [] }) => (oneAxis ? (dims.at(-1) ?? 1) : 1)),
  ];
  // Along several axes, broadcasting makes more elements than any input has.
  const width = oneAxis || inputs.length === 1 ? Math.max(...widths) : Number.NaN;
  return { kind: 'tokens', rank, lead, ...(Number.isNaN(width) ? {} : { width }) };
};

/** Over the last axes, from `axis` on. */
function overLastAxes(byDefault: number): Rule {
  return (node, inputs) => {
    const x = tokensAndWeights(inputs);
    if (typeof x === 'string') return x;
    const axis = fromFront(intAttribute(node, 'axis', byDefault), x.rank);
    return axis > x.lead ? x : 'goes over the axis of tokens';
  };
}

/** Residual, what is added to it, weights: the norm of the sum. */
const skipNorm: Rule = (_, [x, skip, ...weights]) => {
  if (!isTokens(x) || !isTokens(skip)) return 'adds something other than two tensors of tokens';
  return tokensAndWeights([x, ...weights]);
};

const reduce: Rule = (node, [x, axesInput]) => {
  if (!isTokens(x)) return 'has no tokens in its first input';
  const given = intsAttribute(node, 'axes') ?? (isConstant(axesInput) ? axesInput.values?.() : []);
  const axes = (given ?? []).map((axis) => fromFront(axis, x.rank));
  if (axes.length === 0 || axes.some((axis) => axis <= x.lead)) return 'reduces the axis of tokens';
  const { kind, lead } = x;
  const rank = intAttribute(node, 'keepdims', 1) === 1 ? x.rank : x.rank - axes.length;
  return { kind, rank, lead };
};

/** Rows of tokens times a matrix of weights, whose columns `columns` counts. */
function projection(columns: (node: OnnxNode, weights: Input) => number | undefined): Rule {
  return (node, inputs) => {
    const x = tokensAndWeights(inputs);
    if (x === 'takes tokens for weights') return 'multiplies tokens with tokens';
    if (typeof x === 'string') return x;
    if (x.lead >= x.rank - 1) return 'sums over the axis of tokens';
    const { kind, rank, lead } = x;
    const width = columns(node, inputs[1]);
    return { kind, rank, lead, ...(width !== undefined && rank === lead + 2 ? { width } : {}) };
  };
}

const lastDim = (weights: Input) => (isConstant(weights) ? weights.dims?.at(-1) : undefined);

const gemm: Rule = (node, inputs) => {
  if (intAttribute(node, 'transA', 0) !== 0) return 'transposes tokens';
  const transposed = intAttribute(node, 'transB', 0) !== 0;
  return projection((_, weights) =>
    isConstant(weights) ? weights.dims?.[transposed ? 0 : 1] : undefined,
  )(node, inputs);
};

/** Rows of a table by tokens' ids, or elements of tokens by constant indices. */
const gather: Rule = (node, [data, indices]) => {
  const axis = intAttribute(node, 'axis', 0);
  if (isConstant(data) && isTokens(indices)) {
    if (data.dims === undefined) return 'looks up a table of unknown shape';
    if (fromFront(axis, data.dims.length) !== 0) return 'looks up columns by tokens';
    const { kind, rank, lead } = indices;
    const width = rank === lead + 1 ? { width: product(data.dims.slice(1)) } : {};
    return { kind, rank: rank + data.dims.length - 1, lead, ...width };
  }
  if (!isTokens(data) || !isConstant(indices)) return 'picks tokens by tokens';
  const { kind, rank, lead } = data;
  const at = fromFront(axis, rank);
  const picked = indices.dims?.length;
  if (picked === undefined) return 'has indices of unknown shape';
  // Each token is fed as a sequence of one: the last of a sequence is all of it.
  if (at === 1 && lead === 1) {
    if (indices.values?.().join() !== '-1') return 'picks some of the tokens';
    return { ...data, rank: rank - 1 + picked, lead: picked === 0 ? 0 : 1, last: true };
  }
  return at > lead ? { kind, rank: rank - 1 + picked, lead } : 'picks some of the tokens';
};

/** A table of quantised rows by tokens' ids. */
const gatherQuantized: Rule = (node, [data, indices]) => {
  if (!isConstant(data) || !isTokens(indices)) return 'looks up something other than a table';
  if (intAttribute(node, 'gather_axis', 0) !== 0) return 'looks up columns by tokens';
  return { kind: 'tokens', rank: indices.rank + 1, lead: indices.lead };
};

/** The first axis stays, or all rows become one axis. */
const reshape: Rule = (node, [x, shape]) => {
  if (!isTokens(x)) return 'has no tokens in its first input';
  const target = isConstant(shape) ? shape.values?.() : undefined;
  if (!target || intAttribute(node, 'allowzero', 0) !== 0) return 'has a shape of unknown size';
  const rank = target.length;
  if (target[0] === 0) return { ...x, rank, lead: Math.min(x.lead, rank - 1) };
  if (target[0] !== -1) return 'fixes the number of sequences';
  const rest = product(target.slice(1));
  if (x.width === undefined || rest <= 0 || x.width % rest !== 0) return 'may mix tokens in a row';
  return { ...x, rank, lead: 0 };
};

function axesOf(node: OnnxNode, input: Input): readonly number[] | undefined {
  return intsAttribute(node, 'axes') ?? (isConstant(input) ? input.values?.() : undefined);
}

const unsqueeze: Rule = (node, [x, input]) => {
  if (!isTokens(x)) return 'has no tokens in its first input';
  const axes = axesOf(node, input);
  if (!axes) return 'has axes that are not constant';
  const rank = x.rank + axes.length;
  if (axes.some((axis) => fromFront(axis, rank) <= x.lead)) return 'moves the axis of tokens';
  return { ...x, rank };
};

const squeeze: Rule = (node, [x, input]) => {
  if (!isTokens(x)) return 'has no tokens in its first input';
  const axes = axesOf(node, input);
  if (!axes) return 'has axes that are not constant';
  if (axes.some((axis) => fromFront(axis, x.rank) <= x.lead)) return 'removes the axis of tokens';
  return { ...x, rank: x.rank - axes.length };
};

const transpose: Rule = (node, [x]) => {
  if (!isTokens(x)) return 'has no tokens in its first input';
  const perm = intsAttribute(node, 'perm') ?? Array.from({ length: x.rank }, (_, i) => -i);
  const stays = perm.slice(0, x.lead + 1).every((from, to) => from === to);
  return stays ? x : 'moves the axis of tokens';
};

const slice: Rule = (_, [x, starts, ends, axes]) => {
  if (!isTokens(x)) return 'has no tokens in its first input';
  if (!isConstant(starts) || !isConstant(ends) || !isConstant(axes)) return 'slices by tokens';
  const along = axes.values?.().map((axis) => fromFront(axis, x.rank));
  if (!along) return 'has axes that are not constant';
  const { kind, rank, lead } = x;
  if (along.every((axis) => axis > lead)) return { kind, rank, lead };
  // The last tokens of a sequence, which has one: see gather.
  const toTheEnd = (ends.values?.()[0] ?? 0) >= 2 ** 31 - 1;
  const last = starts.fed || (starts.values?.()[0] ?? 0) < 0;
  const isLast = along.join() === '1' && lead === 1 && toTheEnd && last;
  return isLast ? { ...x, last: true } : 'picks some of the tokens';
};

/** Parts of each token. */
function split(byDefault: number): Rule {
  return (node, inputs) => {
    const x = overLastAxes(byDefault)(node, inputs);
    return typeof x === 'string' ? x : { kind: x.kind, rank: x.rank, lead: x.lead };
  };
}

const concat: Rule = (node, inputs) => {
  if (!inputs.every(isTokens)) return 'puts tokens beside constants';
  const tokens = inputs as readonly Tokens[];
  const [{ kind, rank, lead }] = tokens;
  if (tokens.some((each) => each.rank !== rank || each.lead !== lead)) {
    return 'combines tensors of different ranks';
  }
  const behind = fromFront(intAttribute(node, 'axis', 0), rank) > lead;
  return behind ? { kind, rank, lead } : 'puts sequences together';
};

/** x, position ids, tables. */
const rotary: Rule = (_, [x, ...others]) => {
  const positions = others.filter(isTokens);
  if (!isTokens(x) || positions.length !== 1) return 'has no position of every token';
  return x.lead === 1 ? x : 'has no axis of positions';
};

const experts: Rule = (_, [x, router, ...weights]) => {
  if (!isTokens(router)) return 'has no scores of every token';
  return tokensAndWeights([x, ...weights]);
};

const forms = (rule: Rule, ...names: string[]) => names.map((name) => [name, rule] as const);

/** Operators known to make each token's row of that token's rows alone. */
export const rules: ReadonlyMap<string, Rule> = new Map([
  ...forms(elementwise, 'Abs', 'Neg', 'Sqrt', 'Reciprocal', 'Exp', 'Log', 'Erf', 'Tanh', 'Sigmoid'),
  ...forms(elementwise, 'Relu', 'LeakyRelu', 'Elu', 'Softplus', 'HardSigmoid', 'HardSwish', 'Mish'),
  ...forms(elementwise, 'Swish', 'CastLike'),
  ...forms(elementwise, 'Gelu', 'FastGelu', 'QuickGelu', 'BiasGelu', 'Floor', 'Ceil', 'Round'),
  ...forms(elementwise, 'Sign', 'Sin', 'Cos', 'Not', 'Cast', 'Identity', 'Clip', 'Add', 'Sub'),
  ...forms(elementwise, 'Mul', 'Div', 'Pow', 'Min', 'Max', 'Sum', 'Where', 'Equal', 'Less'),
  ...forms(elementwise, 'LessOrEqual', 'Greater', 'GreaterOrEqual', 'And', 'Or', 'Mod'),
  ...forms(overLastAxes(-1), 'SimplifiedLayerNormalization', 'LayerNormalization'),
  ...forms(overLastAxes(-1), 'RMSNormalization', 'LpNormalization', 'Softmax', 'LogSoftmax'),
  ...forms(skipNorm, 'SkipSimplifiedLayerNormalization', 'SkipLayerNormalization'),
  ...forms(reduce, 'ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin', 'ReduceSumSquare'),
  ...forms(reduce, 'ReduceL2'),
  ...forms(
    projection((_, weights) => lastDim(weights)),
    'MatMul',
  ),
  ...forms(
    projection((node) => intAttribute(node, 'N', 0) || undefined),
    ...['MatMulNBits', 'MatMulBnb4'],
  ),
  ...forms(gemm, 'Gemm'),
  ...forms(gather, 'Gather'),
  ...forms(gatherQuantized, 'GatherBlockQuantized'),
  ...forms(reshape, 'Reshape'),
  ...forms(unsqueeze, 'Unsqueeze'),
  ...forms(squeeze, 'Squeeze'),
  ...forms(transpose, 'Transpose'),
  ...forms(slice, 'Slice'),
  ...forms(split(0), 'Split'),
  ...forms(split(-1), 'TopK'),
  ...forms(concat, 'Concat'),
  ...forms(rotary, 'RotaryEmbedding'),
  ...forms(experts, 'MoE', 'QMoE'),
]);
