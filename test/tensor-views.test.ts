import fc from 'fast-check';
import { type DType, memory, type Tensor, tensor, zeros } from '../lib/index.js';
import { heldMemory, settledMemory } from './support/gc.js';
import { expectNativeAgrees } from './support/native-agrees.js';

/** A tensor in JavaScript: for every position of the shape, the index of its element. */
interface Model {
  readonly shape: readonly number[];
  readonly elements: readonly number[];
}

function at(model: Model, position: readonly number[]): number {
  let index = 0;
  model.shape.forEach((length, axis) => {
    index = index * length + position[axis];
  });
  return model.elements[index];
}

function positions(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, length) => all.flatMap((p) => Array.from({ length }, (_, i) => [...p, i])),
    [[]],
  );
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('transpose', 'slice', 'reshape'),
    random: fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
  }),
  { maxLength: 5 },
);

/** One random view of a tensor and of its model. */
function step(t: Tensor, model: Model, kind: string, random: number[]): [Tensor, Model] {
  const rank = model.shape.length;
  if (kind === 'transpose') {
    const axes = model.shape
      .map((_, axis) => axis)
      .sort((a, b) => (random[a] % 97) - (random[b] % 97));
    const shape = axes.map((axis) => model.shape[axis]);
    const elements = positions(shape).map((p) => {
      const source = new Array<number>(rank);
      axes.forEach((axis, i) => {
        source[axis] = p[i];
      });
      return at(model, source);
    });
    return [t.transpose(...axes), { shape, elements }];
  }
  if (kind === 'slice') {
    const ranges = model.shape.map((length, axis) => {
      const start = random[axis] % (length + 1);
      return [start, start + (random[axis + 6] % (length - start + 1))] as const;
    });
    const shape = ranges.map(([start, end]) => end - start);
    const elements = positions(shape).map((p) =>
      at(
        model,
        p.map((i, axis) => i + ranges[axis][0]),
      ),
    );
    return [
      t.slice(
        ...ranges.map((range, axis) => (range[1] - range[0] === model.shape[axis] ? null : range)),
      ),
      { shape, elements },
    ];
  }
  const flat = model.elements.length;
  const divisors = [1, 2, 3, 4, 6].filter((d) => flat % d === 0);
  const first = divisors[random[0] % divisors.length];
  const shape = random[1] % 2 ? [first, flat / first] : [flat / first, 1, first];
  try {
    return [t.reshape(shape), { shape, elements: model.elements }];
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_SHAPE', argument: 'shape' });
    expect(String(error)).toContain('contiguous()');
    return [t.contiguous().reshape(shape), { shape, elements: model.elements }];
  }
}

describe('views', () => {
  test('transpose, slice, reshape and contiguous agree with a model, however they are chained', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom<DType>('float32', 'bfloat16', 'bool'),
        steps,
        async (shape, dtype, walk) => {
          const size = shape.reduce((a, b) => a * b, 1);
          const elements = Array.from({ length: size }, (_, i) => (dtype === 'bool' ? i % 2 : i));
          let t = tensor(elements, shape, { dtype });
          let model: Model = { shape, elements };
          for (const { kind, random } of walk) {
            if (kind === 'reshape' && model.elements.length === 0) continue;
            [t, model] = step(t, model, kind, random);
            expectNativeAgrees(t);
            expect(t.shape).toEqual(model.shape);
          }
          expect([...(await t.toFloat32())]).toEqual(model.elements);
          expect([...(await t.contiguous().toFloat32())]).toEqual(model.elements);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('reshape works out one axis and sees through axes of length 1', async () => {
    const t = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    expect(t.reshape([-1]).shape).toEqual([6]);
    expect(t.reshape([3, -1]).shape).toEqual([3, 2]);
    expect(t.reshape([1, 2, 1, 3, 1]).shape).toEqual([1, 2, 1, 3, 1]);
    const column = t.slice(null, [1, 2]);
    expect(column.shape).toEqual([2, 1]);
    expect(await column.reshape([2]).data()).toEqual(Float32Array.of(2, 5));
  });

  test('share storage but not life', async () => {
    const before = await settledMemory();
    const t = tensor([1, 2, 3, 4], [2, 2]);
    const row = t.slice([1, 2]);
    expect(heldMemory()).toEqual({
      tensors: before.tensors + 2,
      storages: before.storages + 1,
      bytes: memory().bytes,
      scratch: 0,
    });
    t.dispose();
    expect(row.disposed).toBe(false);
    expect(await row.data()).toEqual(Float32Array.of(3, 4));
    row.dispose();
    expect(heldMemory()).toEqual(before);
  });

  test('contiguous is a view where it can be', async () => {
    const before = await settledMemory();
    using t = zeros([4, 8]);
    using same = t.contiguous();
    expect(memory().storages).toBe(before.storages + 1);
    expect(same).not.toBe(t);
    using turned = t.transpose(1, 0);
    using copy = turned.contiguous();
    expect(memory().storages).toBe(before.storages + 2);
    expect(copy.strides).toEqual([4, 1]);
  });
});
