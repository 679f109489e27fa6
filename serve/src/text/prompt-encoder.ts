import { Piscina } from 'piscina';
import type { ChatMessage, ModelText } from './contract.js';
import { type EncodeReply, type EncodeTask, encodeTask, idsOf } from './encode-task.js';
import type { TextSource } from './encode-worker.js';

/** A prompt that can't fit the model, by its length alone. */
export class PromptTooLongError extends Error {
  /** @param atLeast tokens that the prompt has at least. */
  constructor(readonly atLeast: number) {
    super(`The prompt has at least ${atLeast} tokens.`);
  }
}

/** Too many long prompts wait for the tokenizer. */
export class EncoderBusyError extends Error {}

/** UTF-16 units that are encoded where they are: under a millisecond or two. */
const shortPrompt = 2048;

/** Normalizers make text shorter, by no more than this. */
const normalizerGain = 4;

/** Turns prompts into token ids. Long ones are encoded in a worker, and the thread stays free. */
export class PromptEncoder {
  readonly #pool: Piscina<EncodeTask, EncodeReply>;

  readonly #contextLength: number;

  /** @param source where the workers find another copy of `text`. */
  constructor(
    readonly text: ModelText,
    source: TextSource,
    contextLength: number,
  ) {
    this.#contextLength = contextLength;
    this.#pool = new Piscina({
      // Always the compiled file: threads don't run TypeScript.
      filename: new URL('../../dist/text/encode-worker.js', import.meta.url).href,
      workerData: source,
      minThreads: 0,
      maxThreads: 2,
      maxQueue: 64,
      idleTimeout: 60_000,
    });
  }

  /**
   * @param signal ends the work: nobody waits for it.
   * @throws {@link PromptTooLongError} before anything is encoded
   * @throws {@link EncoderBusyError}
   * @throws ChatTemplateError
   */
  async encode(task: EncodeTask, signal: AbortSignal): Promise<Int32Array> {
    const longest = this.text.vocabulary.longest * normalizerGain;
    const atLeast = Math.ceil(certainLength(task) / longest);
    if (atLeast > this.#contextLength) throw new PromptTooLongError(atLeast);
    if (isShort(task)) return idsOf(encodeTask(this.text, task));
    if (this.#pool.queueSize >= this.#pool.options.maxQueue) {
      throw new EncoderBusyError('Too many long prompts wait for the tokenizer.');
    }
    return idsOf(await this.#pool.run(task, { signal }));
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/** UTF-16 units that no template leaves out. Of former answers some drop the reasoning. */
function certainLength(task: EncodeTask): number {
  if (typeof task === 'string') return task.length;
  return lengthOf(task.messages.filter(({ role }) => role !== 'assistant'));
}

/** Tools, calls and the number of messages take time as well as text does. */
function isShort(task: EncodeTask): boolean {
  if (typeof task === 'string') return task.length <= shortPrompt;
  return lengthOf(task.messages) <= shortPrompt && JSON.stringify(task).length <= shortPrompt;
}

const lengthOf = (messages: readonly ChatMessage[]): number =>
  messages.reduce((sum, { content }) => sum + (content?.length ?? 0), 0);
