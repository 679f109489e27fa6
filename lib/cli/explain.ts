import { type Command, Option } from 'commander';
import {
  type DeviceName,
  defaultDevice,
  devices,
  empty,
  explain,
  flashAttention,
  randn,
  synchronize,
} from '../index.js';
import { type FloatDType, floatDTypes } from '../tensor/host-tensor.js';
import { showTable } from './format.js';
import { toJson } from './json.js';
import {
  type AttentionFlags,
  addAttentionOptions,
  attentionOptions,
  integer,
} from './run-options.js';
import { checkTrace, traceHelp, writeTrace } from './trace.js';
import { type CallReport, showDevice, showPlan, showTensor, showWork } from './run-report.js';

/** What the command line of `explain` says, after parsing. */
export interface ExplainFlags extends AttentionFlags {
  readonly batch: number;
  readonly seqlenQ: number;
  readonly seqlenK?: number;
  readonly heads: number;
  readonly kvHeads?: number;
  readonly headDim: number;
  readonly dtype: FloatDType;
  readonly trace?: string;
  readonly json?: true;
}

/** Adds the options of `explain` to a command. */
export function addExplainOptions(command: Command): Command {
  return addAttentionOptions(
    command
      .option('--batch <n>', 'sequences', integer(1), 1)
      .requiredOption('--seqlen-q <n>', 'queries of a sequence', integer(1))
      .option('--seqlen-k <n>', 'keys of a sequence (default: as many as queries)', integer(1))
      .requiredOption('--heads <n>', 'query heads', integer(1))
      .option('--kv-heads <n>', 'key and value heads (default: as many as heads)', integer(1))
      .requiredOption('--head-dim <n>', 'length of a query, a key and a value', integer(1))
      .addOption(
        new Option('--dtype <dtype>', 'of q, k and v').choices(floatDTypes).default('float32'),
      ),
  )
    .option('--trace <file>', `also run it on random numbers and ${traceHelp}`)
    .option('--json', 'print one JSON object, which "flash-attention viz" draws');
}

/**
 * Prints how a call on tensors of these shapes would run; with --trace it also runs. The exit code
 * is 0.
 */
export async function explainCall(flags: ExplainFlags): Promise<number> {
  const device = (flags.device ?? defaultDevice()) as DeviceName;
  const { batch, seqlenQ, heads, headDim, dtype, layout, trace } = flags;
  checkTrace(trace, device, []);
  const of = (seqlen: number, count: number, seed: bigint) => {
    const axes = layout === 'bshd' ? [seqlen, count] : [count, seqlen];
    const shape = [batch, ...axes, headDim];
    const options = { dtype, device };
    return trace === undefined ? empty(shape, options) : randn(shape, { ...options, seed });
  };
  const options = attentionOptions(flags);
  using q = of(seqlenQ, heads, 1n);
  using k = of(flags.seqlenK ?? seqlenQ, flags.kvHeads ?? heads, 2n);
  const report: CallReport = {
    device: devices().find(({ name }) => name === q.device) as CallReport['device'],
    q: { dtype, shape: q.shape },
    k: { dtype, shape: k.shape },
    v: { dtype, shape: k.shape },
    options,
    plan: explain(q, k, k, options),
  };
  if (trace !== undefined) {
    using v = of(flags.seqlenK ?? seqlenQ, flags.kvHeads ?? heads, 3n);
    await synchronize(device);
    await writeTrace(trace, () => ({ out: flashAttention(q, k, v, options) }));
  }
  console.log(flags.json ? toJson(report) : showCall(report));
  return 0;
}

function showCall({ device, q, k, v, plan }: CallReport): string {
  return showTable([
    ['device', showDevice(device)],
    ['q', showTensor(q)],
    ['k', showTensor(k)],
    ['v', showTensor(v)],
    ['plan', showPlan(plan)],
    ['work', showWork(plan)],
  ]);
}
