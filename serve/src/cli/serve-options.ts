import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Role, roles } from '../cluster/messages.js';
import { defaultHandOver } from '../cluster/worker/worker-node.js';
import type { EngineOptions } from '../engine/contract.js';

/** Where a process listens, and to whom. */
export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly defaultMaxTokens: number;
  readonly apiKeyFile?: string;
  readonly allowedHost: readonly string[];
  readonly maxBody: number;
  readonly keepAlive: number;
  readonly drain: number;
  readonly logLevel: string;
}

/** How a process computes. */
export interface EngineCliOptions {
  readonly servedModelName?: string;
  readonly device: string;
  readonly threads?: number;
  readonly maxTokensInCache: number;
  readonly kvDtype: EngineOptions['kvDtype'];
  readonly pageSize: number;
  readonly prefixCache: boolean;
  readonly decodeGraphs: boolean;
  readonly maxRunning: number;
  readonly maxQueued: number;
  readonly maxBatchTokens: number;
  readonly prefillChunk: number;
  readonly stepTimeout: number;
  readonly loadTimeout: number;
}

/** How a process finds its cluster. */
export interface ClusterOptions {
  /** true: without an address. */
  readonly nats?: string | true;
  readonly natsCredentials?: string;
  readonly cluster: string;
}

/** How a process works for others. */
export interface WorkerCliOptions {
  readonly role: Role;
  /** MiB. */
  readonly handOver: number;
}

/** What the command line of `serve` says, after parsing. */
export type ServeOptions = HttpOptions &
  EngineCliOptions &
  ClusterOptions & { readonly workers: number };

/** The options of {@link addEngineOptions}. */
export const engineOptionNames = [
  ...(['servedModelName', 'device', 'threads', 'maxTokensInCache', 'kvDtype'] as const),
  ...(['pageSize', 'prefixCache', 'maxRunning', 'maxQueued', 'maxBatchTokens'] as const),
  ...(['decodeGraphs', 'prefillChunk', 'stepTimeout', 'loadTimeout'] as const),
] as const;

/** Options as they are written, for another process that takes these and those of a cluster. */
export function argumentsOf(
  options: ServeOptions & { readonly nats: string },
  names: readonly (keyof ServeOptions)[],
): string[] {
  const clusterNames = ['nats', 'natsCredentials', 'cluster'] as const;
  return [...clusterNames, ...names].flatMap((name) => {
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const value = options[name];
    if (value === undefined || value === true) return [];
    return value === false ? [`--no-${flag}`] : [`--${flag}`, `${value}`];
  });
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

/** Options of all processes that answer HTTP. */
export function addHttpOptions(command: Command): Command {
  return addDrainOption(command)
    .option('--host <address>', 'where to listen; 0.0.0.0 for every network', '127.0.0.1')
    .option('--port <number>', '0 takes a free one', integer(0, 65_535), 8080)
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
    .addOption(
      new Option('--log-level <level>', 'what is logged, in lines of JSON on stderr')
        .choices(['fatal', 'error', 'warn', 'info', 'debug', 'silent'])
        .default('info'),
    );
}

/** Options of all processes that compute. */
export function addEngineOptions(command: Command): Command {
  return command
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
    .option('--no-decode-graphs', 'on a GPU: launch every kernel of a decode step by itself')
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
      '--load-timeout <seconds>',
      'so long loading the model may take',
      integer(1, 86_400),
      600,
    );
}

/** For what runs to end. */
export function addDrainOption(command: Command): Command {
  return command.option(
    '--drain <seconds>',
    'for answers to end after SIGTERM',
    integer(0, 86_400),
    30,
  );
}

/** Options of the processes of a cluster. */
export function addClusterOptions(command: Command, nats: Option): Command {
  return command
    .addOption(nats)
    .option('--nats-credentials <file>', 'credentials for NATS')
    .option('--cluster <name>', 'which of the clusters on this NATS', 'default');
}

/** Options of the processes that compute for others. */
export function addWorkerOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--role <role>', 'what of an answer it computes: its prompt, the rest, or both')
        .choices(roles)
        .default('both'),
    )
    .option(
      '--hand-over <MiB>',
      'stored pages that it leaves to other workers when it ends',
      integer(0, many),
      defaultHandOver,
    );
}

/** Of a process that joins a cluster. */
export const natsToJoin = (): Option =>
  new Option('--nats <url>', 'where NATS is').default('nats://127.0.0.1:4222');

/** Of a process that may be a cluster on its own. */
export const natsOrOwn = (): Option =>
  new Option(
    '--nats [url]',
    'serve as a cluster of processes; without an address, or with "embedded", on a NATS of its own',
  );

/** Adds the options of `serve` to a command. */
export function addServeOptions(command: Command): Command {
  const all = addEngineOptions(addHttpOptions(command));
  return addClusterOptions(all, natsOrOwn()).option(
    '--workers <n>',
    'with --nats: processes that compute',
    integer(1, 256),
    1,
  );
}
