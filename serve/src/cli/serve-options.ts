import { type Command, InvalidArgumentError, Option } from 'commander';
import type { EngineOptions } from '../engine/contract.js';

/** What the command line of `serve` says, after parsing. */
export interface ServeOptions {
  readonly host: string;
  readonly port: number;
  readonly servedModelName?: string;
  readonly device: string;
  readonly threads?: number;
  readonly maxTokensInCache: number;
  readonly kvDtype: EngineOptions['kvDtype'];
  readonly pageSize: number;
  readonly prefixCache: boolean;
  readonly maxRunning: number;
  readonly maxQueued: number;
  readonly maxBatchTokens: number;
  readonly prefillChunk: number;
  readonly stepTimeout: number;
  readonly defaultMaxTokens: number;
  readonly apiKeyFile?: string;
  readonly allowedHost: readonly string[];
  readonly maxBody: number;
  readonly keepAlive: number;
  readonly drain: number;
  readonly logLevel: string;
}

/** A whole number from `min` to `max`, for options of commander. */
function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

const many = 2 ** 31 - 1;
const list = (text: string, before: readonly string[]): string[] => [...before, text];

/** Adds the options of `serve` to a command. */
export function addServeOptions(command: Command): Command {
  return command
    .option('--host <address>', 'where to listen; 0.0.0.0 for every network', '127.0.0.1')
    .option('--port <number>', '0 takes a free one', integer(0, 65_535), 8080)
    .option(
      '--served-model-name <name>',
      "what clients call the model (default: the folder's name)",
    )
    .option('--device <name>', 'where attention runs: cpu, cuda or cuda:<number>', 'cpu')
    .option('--threads <n>', 'threads that compute (default: one for each core)', integer(1, 1024))
    .option('--max-tokens-in-cache <n>', 'size of the cache', integer(16, many), 16_384)
    .addOption(
      new Option('--kv-dtype <dtype>', 'how the cache stores keys and values')
        .choices(['float32', 'float16', 'bfloat16', 'int8'])
        .default('float32'),
    )
    .option('--page-size <n>', 'tokens of a page of the cache', integer(1, 4096), 16)
    .option('--no-prefix-cache', 'compute every prompt from its beginning')
    .option('--max-running <n>', 'answers computed side by side', integer(1, 4096), 32)
    .option('--max-queued <n>', 'requests that may wait for a place', integer(0, 1_000_000), 256)
    .option(
      '--max-batch-tokens <n>',
      'tokens of a step of the model; at least --max-running',
      integer(1, 1_000_000),
      512,
    )
    .option('--prefill-chunk <n>', 'tokens of a prompt in a step', integer(1, 1_000_000), 256)
    .option(
      '--step-timeout <seconds>',
      "after so long a step of the model hangs: the engine's thread is started anew",
      integer(1, 86_400),
      120,
    )
    .option(
      '--default-max-tokens <n>',
      'longest answer where a chat sets no limit',
      integer(1, many),
      4096,
    )
    .option('--api-key-file <file>', 'keys that clients need, one in each line')
    .option(
      '--allowed-host <name>',
      'a name to answer under without keys; may be repeated',
      list,
      [],
    )
    .option('--max-body <MiB>', 'longest request', integer(1, 1024), 16)
    .option('--keep-alive <seconds>', 'for idle connections', integer(1, 86_400), 75)
    .option('--drain <seconds>', 'for answers to end after SIGTERM', integer(0, 86_400), 30)
    .addOption(
      new Option('--log-level <level>', 'what is logged, in lines of JSON on stderr')
        .choices(['fatal', 'error', 'warn', 'info', 'debug', 'silent'])
        .default('info'),
    );
}
