// Rows and replies in 16 bits: what they weigh, and what they cost.
import { tensor } from '../../../lib/index.js';
import {
  applyRotary,
  type CacheDType,
  type ContextPart,
  type ContextRows,
  type ContextTransport,
  inProcessTransport,
  type PartState,
} from '../../../lib/serving/index.js';
import { decodeMessage } from '../../../lib/serving/context/message.js';
import type { FloatDType } from '../../../lib/tensor/host-tensor.js';
import { ContextMachines, furthest, smallShape } from '../../support/context-machines.js';
import { onSimtHopper, sized } from '../../support/device.js';
import { rotaryTables } from '../../support/rotary-tables.js';

const cut = { parts: 3, tokensPerRun: 8 };
const { heads, kvHeads, headDim, headDimV } = smallShape;
const narrow: readonly FloatDType[] = sized(['bfloat16', 'float16'], ['bfloat16']);
const caches: readonly CacheDType[] = onSimtHopper
  ? ['bfloat16']
  : sized(['float32', 'bfloat16', 'int8'], ['float32', 'int8']);
const alibiSlopes = [0.5, 0.25, 0.02, 1];

type Rows = readonly [ContextRows, ContextRows, ContextRows];

/** Rows in 16 bits, and the same numbers in 32. */
async function narrowed(machines: ContextMachines, total: number, dtype: FloatDType) {
  const [q, k, v] = machines.rows(total);
  const rows = [
    tensor(q, [total, heads, headDim], { dtype }),
    tensor(k, [total, kvHeads, headDim], { dtype }),
    tensor(v, [total, kvHeads, headDimV], { dtype }),
  ] as const;
  const wide = await Promise.all(rows.map((each) => each.toFloat32()));
  return { rows: rows as Rows, wide: wide as unknown as Rows };
}

describe.each(caches)('over caches of %s', (cache) => {
  test.each(narrow)('rows in %s give the bits of the same numbers in float32', async (dtype) => {
    const machines = new ContextMachines(cut, { dtype: cache });
    const [a, b] = [machines.create(), machines.create()];
    for (const tokens of [27, 1, 1]) {
      const { rows, wide } = await narrowed(machines, tokens, dtype);
      for (const options of [{ numSplits: 1 }, { numSplits: 1, alibiSlopes }]) {
        const keep = [options.alibiSlopes ? tokens : 0];
        const of = (twin: typeof a) => [{ apart: twin.apart, tokens }];
        const given = await machines.apart(of(a), [rows, rows], options, keep);
        const expected = await machines.apart(of(b), [wide, wide], options, keep);
        expect(given).toEqual(expected);
      }
    }
    await machines.end(a, b);
  });
});

test('rows are as they were at the call', async () => {
  const machines = new ContextMachines(cut);
  const { apart: sequence } = machines.create();
  const { rows, wide } = await narrowed(machines, 3, 'bfloat16');
  const numbers = (wide[2] as Float32Array).slice();
  const attend = async (of: Rows, change: () => void) => {
    using step = machines.context.step([{ sequence, tokens: 3 }]);
    const pending = step.attention(0, ...of, { numSplits: 1 });
    change();
    return await pending;
  };
  const expected = await attend(wide, () => {});
  const mixed: Rows = [rows[0], rows[1], numbers];
  expect(await attend(mixed, () => numbers.fill(Number.NaN))).toEqual(expected);
  const disposeAll = () => {
    for (const each of rows) if (!(each instanceof Float32Array)) each.dispose();
  };
  expect(await attend(rows, disposeAll)).toEqual(expected);
});

test('rotated rows are rounded to their dtype', async () => {
  const tables = rotaryTables(64, 4);
  using cos = tensor(tables.cos, [64, 4]);
  using sin = tensor(tables.sin, [64, 4]);
  const machines = new ContextMachines(cut);
  const { apart: sequence } = machines.create();
  const [q, k, v] = machines.rows(5);
  using qRows = tensor(q, [5, heads, headDim], { dtype: 'bfloat16' });
  using kRows = tensor(k, [5, kvHeads, headDim], { dtype: 'bfloat16' });
  using qTurned = applyRotary(qRows, { cos, sin });
  using kTurned = applyRotary(kRows, { cos, sin });
  const attend = async (of: Rows, options: object) => {
    using step = machines.context.step([{ sequence, tokens: 5 }]);
    return await step.attention(0, ...of, { numSplits: 1, ...options });
  };
  const turned = await attend([qTurned, kTurned, v], {});
  expect(await attend([qRows, kRows, v], { rotary: { cos, sin } })).toEqual(turned);
});

test.each([
  ['bfloat16', 2 ** -8],
  ['float16', 2 ** -11],
] as const)('replies in %s: off by no more than their rounding', async (replyDType, unit) => {
  const machines = [undefined, replyDType].map(
    (of) => new ContextMachines(cut, { replyDType: of }),
  );
  const twins = machines.map((each) => each.create());
  const greatest = 2; // of v: no out is larger
  for (const tokens of [50, 1, 1]) {
    const rows = [machines[0].rows(tokens), machines[0].rows(tokens)];
    const given: PartState[][] = [];
    for (const [n, each] of machines.entries()) {
      const options = { sinks: [0, -1, 1, 2] };
      given.push(await each.apart([{ apart: twins[n].apart, tokens }], rows, options));
    }
    for (const [layer, { out, lse }] of given[0].entries()) {
      const distance = furthest(given[1][layer].out, out);
      expect(distance).toBeGreaterThan(0);
      expect(distance).toBeLessThan(unit * greatest + 1e-6);
      expect(given[1][layer].lse).toEqual(lse);
    }
  }
});

test('one part alone: its reply is rounded, too', async () => {
  const one = { parts: 1, tokensPerRun: 8 };
  const machines = new ContextMachines(one, { replyDType: 'bfloat16' });
  const { apart: sequence } = machines.create();
  using step = machines.context.step([{ sequence, tokens: 1 }]);
  const out = await step.attention(0, ...machines.rows(1));
  using rounded = tensor(out, [out.length], { dtype: 'bfloat16' });
  expect(await rounded.toFloat32()).toEqual(out);
});

/** Bytes of the tensors of all messages, without what says what they are about. */
class Weighed {
  sent = 0;
  received = 0;

  readonly transport = (parts: readonly ContextPart[]): ContextTransport => {
    const inner = inProcessTransport(parts);
    return {
      scatter: (requests, signal) => {
        for (const { bytes } of requests) this.sent += payload(bytes);
        const replies = inner.gather(inner.scatter(requests, signal));
        return replies.map(async (reply) => {
          const bytes = await reply;
          this.received += payload(bytes);
          return bytes;
        });
      },
      gather: (sent) => sent as Promise<Uint8Array>[],
    };
  };
}

function payload(bytes: Uint8Array): number {
  decodeMessage(bytes, 'message');
  const header = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  return bytes.length - 8 - Number(header);
}

test.each([
  ['float32', 'float32', 4, 4],
  ['bfloat16', 'float32', 2, 4],
  ['float32', 'bfloat16', 4, 2],
  ['float16', 'float16', 2, 2],
] as const)('bytes of a token: rows in %s, replies in %s', async (dtype, replyDType, e, r) => {
  const weighed = new Weighed();
  const machines = new ContextMachines(cut, { transport: weighed.transport, replyDType });
  const { apart: sequence } = machines.create();
  const attend = async (tokens: number, options: object) => {
    Object.assign(weighed, { sent: 0, received: 0 });
    const { rows } = await narrowed(machines, tokens, dtype);
    await machines.apart([{ apart: sequence, tokens }], [rows, rows], options);
    const { sent, received } = weighed;
    return { sent: sent / 2, received: received / 2 }; // of two layers
  };
  await attend(30, {});
  const asked = cut.parts;
  const rows = asked * e * heads * headDim + e * kvHeads * (headDim + headDimV);
  const replies = asked * (r * heads * headDimV + 4 * heads);
  expect(await attend(1, {})).toEqual({ sent: rows, received: replies });
  const slopes = asked * 4 * heads;
  expect(await attend(1, { alibiSlopes })).toEqual({ sent: rows + slopes, received: replies });
});
