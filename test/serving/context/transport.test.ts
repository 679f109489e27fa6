// What goes between the caller and the parts: who is asked, in which order replies come, which of
// them never do.
import {
  type ContextAttentionOptions,
  type ContextPart,
  ContextParallel,
  type ContextTransport,
  inProcessTransport,
  type PartRequest,
  type PartState,
} from '../../../lib/serving/index.js';
import { ContextMachines, smallShape } from '../../support/context-machines.js';
import { sized } from '../../support/device.js';
import { errorOf } from '../../support/expect-error.js';
import { uniform } from '../../support/random.js';

const cut = { parts: 3, tokensPerRun: 8 };

/** A transport that a test may interfere with. */
class Interference {
  /** Parts asked by each scatter. */
  readonly asked: number[][] = [];
  /** What becomes of a reply. */
  reply: (part: number, bytes: Promise<Uint8Array>) => Promise<Uint8Array> = (_, bytes) => bytes;
  aborted: unknown;

  readonly transport = (parts: readonly ContextPart[]): ContextTransport => {
    const inner = inProcessTransport(parts);
    return {
      scatter: (requests: readonly PartRequest[], signal: AbortSignal) => {
        this.asked.push(requests.map(({ part }) => part));
        signal.addEventListener('abort', () => {
          this.aborted = signal.reason;
        });
        const sent = inner.gather(inner.scatter(requests, signal));
        return requests.map(({ part }, i) => this.reply(part, sent[i]));
      },
      gather: (sent) => sent as Promise<Uint8Array>[],
    };
  };
}

const never = () => new Promise<Uint8Array>(() => {});
const bitsOf = (states: readonly PartState[]) =>
  states.map(({ out, lse }) => [
    ...new Uint32Array(out.slice().buffer),
    ...new Uint32Array(lse.slice().buffer),
  ]);

test('a layer is one scatter to the parts that hold something', async () => {
  const { asked, transport } = new Interference();
  const machines = new ContextMachines(cut, { transport });
  const twin = machines.create();
  await machines.feed([{ twin, tokens: 7 }]);
  await machines.feed([{ twin, tokens: 1 }]);
  await machines.feed([{ twin, tokens: 1 }]);
  await machines.feed([{ twin, tokens: 9 }]);
  expect(asked).toEqual([[0], [0], [0], [0], [0, 1], [0, 1], [0, 1, 2], [0, 1, 2]]);
});

test('parts that a window does not reach are not asked, those of sink tokens are', async () => {
  const { asked, transport } = new Interference();
  const machines = new ContextMachines(cut, { transport });
  const twin = machines.create();
  await machines.feed([{ twin, tokens: 21 }]);
  asked.length = 0;
  await machines.feed([{ twin, tokens: 1 }], { window: [5, 0] });
  await machines.feed([{ twin, tokens: 1 }], { window: [7, 0] });
  await machines.feed([{ twin, tokens: 1 }], { window: [5, 0], sinkTokens: 1 });
  await machines.feed([{ twin, tokens: 1 }], { window: [0, 0], sinks: [1, 2, 3, 4] });
  const twice = (parts: number[]) => [parts, parts];
  expect(asked).toEqual([[2], [1, 2], [0, 2], [0]].flatMap(twice));
});

test.each<[string, ContextAttentionOptions]>([
  ['sinks', { sinks: [1, 2, 3, 4] }],
  ['ALiBi', { alibiSlopes: [0.5, 0.25, 0.02, 1] }],
])('bits do not depend on the order of arrival, nor on the batch: %s', async (_, given) => {
  const runs: number[][][] = [];
  for (const seed of [1, 2, 3]) {
    const interference = new Interference();
    const random = uniform(seed);
    interference.reply = async (_, bytes) => {
      const reply = await bytes;
      await new Promise((resolve) => setTimeout(resolve, 20 * random()));
      return reply;
    };
    const machines = new ContextMachines(cut, { transport: interference.transport });
    const [a, b] = [machines.create(), machines.create()];
    const options = { numSplits: 1, ...given };
    const prompt = Array.from({ length: 2 }, () => machines.rows(40));
    await machines.apart([{ apart: a.apart, tokens: 40 }], prompt, options);
    const rows = Array.from({ length: 2 }, () => machines.rows(1));
    if (seed !== 3) {
      runs.push(bitsOf(await machines.apart([{ apart: a.apart, tokens: 1 }], rows, options)));
      continue;
    }
    // Beside another sequence, which lies on one part alone.
    const { heads, headDimV } = smallShape;
    const double = rows.map((each) => each.map((data) => Float32Array.of(...data, ...data)));
    const entries = [a, b].map(({ apart }) => ({ apart, tokens: 1 }));
    const states = await machines.apart(entries, double as typeof rows, options);
    const first = states.map(({ out, lse }) => ({
      out: out.subarray(0, heads * headDimV),
      lse: lse.filter((_, n) => n % 2 === 0),
    }));
    runs.push(bitsOf(first));
  }
  expect(runs[1]).toEqual(runs[0]);
  expect(runs[2]).toEqual(runs[0]);
});

test('a part that is lost in mid-gather: the layer, or the step, may be done again', async () => {
  const interference = new Interference();
  const timeoutMs = sized(2000, 10_000); // more than an answer takes, on a busy machine too
  const machines = new ContextMachines(cut, {
    transport: interference.transport,
    timeoutMs,
  });
  const twin = machines.create();
  await machines.feed([{ twin, tokens: 30 }]);
  const [q, k, v] = machines.rows(3);
  const context = machines.context;
  const step = context.step([{ sequence: twin.apart, tokens: 3 }]);
  const first = await step.attention(0, q, k, v);
  interference.reply = (part, bytes) => (part === 1 ? never() : bytes);
  const error = await errorOf(() => step.attention(1, q, k, v));
  expect(error).toMatchObject({ code: 'ERR_PART_TIMEOUT', part: 1 });
  expect(error.message).toBe(
    `Expected part 1 to answer within ${timeoutMs} ms but received nothing.`,
  );
  expect(interference.aborted).toBe(error);
  await expect(errorOf(() => step.commit())).resolves.toMatchObject({ code: 'ERR_STATE' });
  interference.reply = (_, bytes) => bytes;
  const again = await step.attention(1, q, k, v);
  step.dispose();
  expect(twin.apart.length).toBe(30);
  // As if it had never been; and the same rows give the same bits.
  const rows: [typeof q, typeof k, typeof v] = [q, k, v];
  const states = await machines.apart([{ apart: twin.apart, tokens: 3 }], [rows, rows], {});
  expect(states[0].out).toEqual(first);
  expect(states[1].out).toEqual(again);
});

test('no worker for a part: the transport’s error is the cause', async () => {
  const interference = new Interference();
  const machines = new ContextMachines(cut, { transport: interference.transport });
  const twin = machines.create();
  await machines.feed([{ twin, tokens: 30 }]);
  const cause = new Error('503');
  interference.reply = (part, bytes) => (part === 2 ? Promise.reject(cause) : bytes);
  const rows = machines.rows(1);
  using step = machines.context.step([{ sequence: twin.apart, tokens: 1 }]);
  const error = await errorOf(() => step.attention(0, ...rows));
  expect(error).toMatchObject({ code: 'ERR_PART_MISSING', part: 2, cause });
});

test('a transport that throws', async () => {
  const transport = (): ContextTransport => ({
    scatter: () => {
      throw new Error('closed');
    },
    gather: () => [],
  });
  const { context, rows } = onlyContext(transport());
  using step = context.step([{ sequence: context.createSequence(), tokens: 1 }]);
  const error = await errorOf(() => step.attention(0, ...rows));
  expect(error).toMatchObject({ code: 'ERR_PART_MISSING', part: 0 });
  expect(error.message).toMatch(/closed/);
});

test('a reply that is none', async () => {
  const transport = (): ContextTransport => ({
    scatter: (requests) => requests.map(async () => new Uint8Array(3)),
    gather: (sent) => sent as Promise<Uint8Array>[],
  });
  const { context, rows } = onlyContext(transport());
  using step = context.step([{ sequence: context.createSequence(), tokens: 1 }]);
  const error = await errorOf(() => step.attention(0, ...rows));
  expect(error).toMatchObject({ code: 'ERR_TYPE', argument: 'the reply of part 0' });
});

test('a signal ends the wait', async () => {
  const { context, rows } = onlyContext({ scatter: () => [never()], gather: (sent) => sent as [] });
  using step = context.step([{ sequence: context.createSequence(), tokens: 1 }]);
  const reason = new Error('enough');
  const stop = new AbortController();
  const pending = errorOf(() => step.attention(0, ...rows, { signal: stop.signal }));
  stop.abort(reason);
  expect(await pending).toMatchObject({ code: 'ERR_ABORTED', cause: reason });
  const late = errorOf(() => step.attention(0, ...rows, { signal: stop.signal }));
  expect(await late).toMatchObject({ code: 'ERR_ABORTED', cause: reason });
});

function onlyContext(transport: ContextTransport) {
  const context = new ContextParallel({ cut, transport, layers: 1, kvHeads: 1, headDim: 8 });
  const row = () => new Float32Array(8);
  return { context, rows: [row(), row(), row()] as const };
}
