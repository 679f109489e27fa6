import { inspect } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import {
  FlashAttentionError,
  flashAttention,
  synchronize,
  type Tensor,
  tensor,
  zeros,
} from '../lib/index.js';
import { call, fromNative } from '../lib/native/errors.js';
import { errorOf, thrownBy } from './support/expect-error.js';

describe('FlashAttentionError', () => {
  test('is an Error with code, argument and cause', () => {
    const cause = new Error('below');
    const error = new FlashAttentionError('ERR_SHAPE', 'text', { argument: 'k', cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'FlashAttentionError', code: 'ERR_SHAPE', argument: 'k' });
    expect(error.cause).toBe(cause);
    expect(error.stack).toMatch(/^FlashAttentionError: text\n.*errors\.test/s);
    expect(inspect(error)).toContain("code: 'ERR_SHAPE'");
    expect('argument' in new FlashAttentionError('ERR_SHAPE', 'text')).toBe(false);
  });

  test('is recognised across copies of the package and across realms', () => {
    const foreign = runInContext(
      `const error = new Error('x');
       error[Symbol.for('flash-attention.FlashAttentionError')] = true;
       error`,
      createContext(),
    );
    expect(foreign).not.toBeInstanceOf(Error);
    expect(foreign).toBeInstanceOf(FlashAttentionError);
    for (const other of [new Error('x'), {}, null, undefined, 'ERR_SHAPE']) {
      expect(other instanceof FlashAttentionError).toBe(false);
    }
  });

  test('wraps what native code throws', () => {
    const native = Object.assign(new Error('low'), { code: 'ERR_SHAPE', argument: 'seqlensK' });
    const error = thrownBy(() =>
      call(() => {
        throw native;
      }),
    );
    expect(error).toMatchObject({
      code: 'ERR_SHAPE',
      argument: 'options.seqlensK',
      message: 'low',
    });
    expect(error.cause).toBe(native);
    expect(fromNative({ code: 'ERR_DTYPE', argument: 'k', message: 'm' }).argument).toBe('k');
    expect(fromNative({ code: 'ERR_OPTION', argument: 'dropout.p', message: 'm' }).argument).toBe(
      'options.dropout.p',
    );
    expect(fromNative({ code: 'E_ODD', message: 'odd' })).toMatchObject({
      code: 'ERR_INTERNAL',
      message: 'odd',
    });
    expect(fromNative('text')).toMatchObject({ code: 'ERR_INTERNAL', message: 'text' });
    expect(fromNative(undefined).code).toBe('ERR_INTERNAL');
    expect(fromNative(error)).toBe(error);
  });
});

const q = zeros([2, 6, 4, 8]);
const k = zeros([2, 5, 2, 8]);
const v = zeros([2, 5, 2, 3]);

describe('errors of execution', () => {
  /** The same values, but not known when the call that uses them is made. */
  async function slowly(values: Int32Array): Promise<{ later: Tensor; busy: Tensor }> {
    const big = zeros([1, 2048, 8, 64]);
    const busy = flashAttention(big, big, big);
    return { busy, later: tensor(values, [values.length]).to('int32') };
  }

  test('reject the wait of what depends on them, and of nothing else', async () => {
    const { later, busy } = await slowly(Int32Array.of(5, 6));
    const { out, lse } = flashAttention(q, k, v, { seqlensK: later, returnLse: true });
    const onTop = out.to('bfloat16').transpose(3, 2, 1, 0);
    const bystander = flashAttention(q, k, v);
    for (const use of [() => out.data(), () => lse.toFloat32(), () => onTop.data()]) {
      const error = await errorOf(use);
      expect(error).toMatchObject({ code: 'ERR_SHAPE', argument: 'options.seqlensK' });
      expect(error.stack).toContain('errors.test');
    }
    await synchronize();
    expect((await bystander.data()).length).toBe(bystander.size);
    busy.dispose();
  });

  test('correct values found late are as good as early ones', async () => {
    const { later } = await slowly(Int32Array.of(5, 2));
    const late = flashAttention(q, k, v, { seqlensK: later });
    const early = flashAttention(q, k, v, { seqlensK: [5, 2] });
    expect(await late.data()).toEqual(await early.data());
  });
});
