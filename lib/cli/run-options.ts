import { type Command, InvalidArgumentError, Option } from 'commander';
import type { AttentionOptions } from '../index.js';
import { traceHelp } from './trace.js';
import { type FloatDType, floatDTypes } from '../tensor/host-tensor.js';

/** What a command line says about attention, after parsing. */
export interface AttentionFlags {
  readonly layout: 'bshd' | 'bhsd';
  readonly causal?: true;
  readonly window?: [left: number, right: number];
  readonly sinkTokens?: number;
  readonly softcap?: number;
  readonly scale?: number;
  readonly numSplits?: number | 'auto';
  readonly device?: string;
}

/** What the command line of `run` says, after parsing. */
export interface RunOptions extends AttentionFlags {
  readonly dtype?: FloatDType;
  readonly qName: string;
  readonly kName: string;
  readonly vName: string;
  readonly repeat: number;
  readonly out?: string;
  readonly lse?: string;
  readonly check?: true;
  readonly trace?: string;
  readonly json?: true;
}

/** A whole number from `min` on, for options of commander. */
export function integer(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`Expected a whole number of at least ${min}.`);
    }
    return value;
  };
}

export function finite(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new InvalidArgumentError('Expected a number.');
  }
  return value;
}

/** `1024,0` or `inf,0`: tokens kept on either side of the diagonal. */
export function windowBounds(text: string): [left: number, right: number] {
  const bounds = text.split(',').map((part) => {
    const side = part.trim().toLowerCase();
    if (side === 'inf' || side === 'infinity') return Infinity;
    return /^[+-]?\d+$/.test(side) ? Number(side) : Number.NaN;
  });
  if (bounds.length !== 2 || bounds.some(Number.isNaN)) {
    throw new InvalidArgumentError("Expected 'left,right', each a whole number or inf.");
  }
  return bounds as [number, number];
}

function splits(text: string): number | 'auto' {
  return text === 'auto' ? text : integer(1)(text);
}

/** Adds the options of attention to a command. */
export function addAttentionOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--layout <order>', 'axes: bshd is [batch, seqlen, heads, headDim]')
        .choices(['bshd', 'bhsd'])
        .default('bshd'),
    )
    .option('--causal', 'no query sees a later key (aligned bottom-right)')
    .option('--window <left,right>', 'keys kept beside the diagonal, such as 1024,0', windowBounds)
    .option('--sink-tokens <n>', 'first keys that the window never drops', integer(0))
    .option('--softcap <x>', 'scores become x * tanh(score / x)', finite)
    .option('--scale <x>', 'factor of q·k (default: 1/sqrt(headDim))', finite)
    .option('--num-splits <n>', 'key ranges computed side by side, or auto', splits)
    .option('--device <name>', 'cpu, cuda or cuda:<number> (default: the best there is)');
}

/** Adds the options of `run` to a command. */
export function addRunOptions(command: Command): Command {
  return addAttentionOptions(command)
    .addOption(
      new Option(
        '--dtype <dtype>',
        'compute in it; says what uint16 .npy files are bits of',
      ).choices(floatDTypes),
    )
    .option('--q-name <name>', 'tensor of a .safetensors file', 'q')
    .option('--k-name <name>', 'tensor of a .safetensors file', 'k')
    .option('--v-name <name>', 'tensor of a .safetensors file', 'v')
    .option('--repeat <n>', 'run n times and show the median', integer(1), 1)
    .option('--out <file>', 'write the result: .npy, or .safetensors with out and lse')
    .option('--lse <file>', "write each row's log-sum-exp: .npy or .safetensors")
    .option('--check', 'compare with float64; exit with 1 if the error is too large')
    .option('--trace <file>', `afterwards ${traceHelp}`)
    .option('--json', 'print one JSON object');
}

/** The options as `flashAttention` takes them. */
export function attentionOptions(options: AttentionFlags): AttentionOptions {
  const { layout, causal, window, sinkTokens, softcap, scale, numSplits } = options;
  const all = { layout, causal, window, sinkTokens, softcap, scale, numSplits };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
