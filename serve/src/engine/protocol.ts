import type { SchedulerStats } from '../scheduler/scheduler.js';
import type {
  CacheCounts,
  EngineErrorShape,
  EngineOptions,
  Finish,
  GenerationRequest,
  ModelInfo,
  PrefixChange,
  SavedPrefix,
  StoredText,
  TokenEvent,
} from './contract.js';
import { asEngineError, EngineError } from './errors.js';

/** What the engine's thread is started with. */
export interface WorkerData {
  readonly options: EngineOptions;
  /** Memory of a Heartbeat. */
  readonly heartbeat: Int32Array<SharedArrayBuffer>;
}

/** From the server's thread to the engine's. Ids are given by the former. */
export type ToWorker =
  | {
      readonly type: 'generate';
      readonly answers: readonly { id: number; request: GenerationRequest }[];
    }
  /** An answer or a text. */
  | { readonly type: 'cancel'; readonly id: number }
  | { readonly type: 'embed'; readonly id: number; readonly tokens: Int32Array }
  | { readonly type: 'stats'; readonly id: number }
  | Transfer
  /** Ends the thread once all answers have ended. */
  | { readonly type: 'close' };

/** What is asked of stored prefixes: see the contract's Forward. */
export type Transfer =
  | { readonly type: 'texts'; readonly id: number }
  | { readonly type: 'save'; readonly id: number; readonly text: StoredText }
  | {
      readonly type: 'load';
      readonly id: number;
      readonly bytes: Uint8Array;
      readonly scope: string;
    };

/** From the engine's thread. All that one step brought is one message. */
export type FromWorker =
  | { readonly type: 'ready'; readonly info: ModelInfo; readonly cache: CacheCounts }
  | { readonly type: 'failed'; readonly error: ErrorData }
  | { readonly type: 'events'; readonly events: readonly AnswerEvent[] }
  | { readonly type: 'prefixes'; readonly change: PrefixChange }
  | { readonly type: 'result'; readonly id: number; readonly value: CallResult }
  | { readonly type: 'rejection'; readonly id: number; readonly error: ErrorData };

/** What a call of the engine's thread comes to. */
export type CallResult =
  | SchedulerStats
  | Float32Array
  | readonly StoredText[]
  | SavedPrefix
  | number
  | undefined;

export type AnswerEvent =
  | { readonly id: number; readonly token: TokenEvent }
  | {
      readonly id: number;
      readonly finish: Omit<Finish, 'error'> & { readonly error?: ErrorData };
    };

/** An {@link EngineError}; of other errors only the message would survive the crossing. */
export interface ErrorData {
  readonly code: EngineErrorShape['code'];
  readonly message: string;
}

export function errorData(thrown: unknown): ErrorData {
  const { code, message } = asEngineError(thrown);
  return { code, message };
}

export function errorFrom({ code, message }: ErrorData): EngineError {
  return new EngineError(code, message);
}
