// A round of requests, and the wait for all replies.
import { randomUUID } from 'node:crypto';
import { FlashAttentionError } from '../../native/errors.js';
import type { HostTensor } from '../../tensor/host-tensor.js';
import type { FileDType } from '../../tensor/safetensors.js';
import type { ContextCut } from './cut.js';
import { encodeMessage, type Message } from './message.js';
import { decodeReply } from './reply.js';
import type { ContextTransport } from './transport.js';

/** What one part is asked. */
export interface Ask {
  readonly part: number;
  /** A {@link Request} without its address. */
  readonly body: object;
  readonly tensors?: Readonly<Record<string, HostTensor<FileDType>>>;
}

/** The caller's end of a transport. */
export class ContextLink {
  readonly cut: ContextCut;
  readonly owner: string = randomUUID();
  readonly #transport: ContextTransport;
  readonly #timeoutMs: number;
  #numbers = 0;

  constructor(cut: ContextCut, transport: ContextTransport, timeoutMs: number) {
    this.cut = cut;
    this.#transport = transport;
    this.#timeoutMs = timeoutMs;
  }

  /** A number that this owner has not given to a sequence or a step yet; later ones are greater. */
  next(): number {
    return ++this.#numbers;
  }

  /**
   * The replies, in the order of `asks`. The first failure ends the wait for all.
   *
   * @throws {@link FlashAttentionError} `ERR_PART_MISSING`, `ERR_PART_TIMEOUT`, `ERR_ABORTED`, and
   * what parts throw; with `part`.
   */
  ask(asks: readonly Ask[], signal?: AbortSignal): Promise<Message[]> {
    const { owner, cut } = this;
    const requests = asks.map(({ part, body, tensors = {} }) => {
      return { part, bytes: encodeMessage({ ...body, owner, cut: { ...cut, part } }, tensors) };
    });
    return new Promise((resolve, reject) => {
      const round = new AbortController();
      const waiting = new Set(asks.map(({ part }) => part));
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
      };
      const refuse = (error: unknown) => {
        end();
        reject(error);
        round.abort(error);
      };
      const stop = () => refuse(aborted(signal));
      const timer = setTimeout(() => refuse(timedOut(waiting, this.#timeoutMs)), this.#timeoutMs);
      if (signal?.aborted) return stop();
      signal?.addEventListener('abort', stop, { once: true });
      const replies = this.#send(requests, round.signal).map(async (pending, i) => {
        const { part } = asks[i];
        const bytes = await pending.catch((cause) => {
          throw missing(part, cause);
        });
        waiting.delete(part);
        return decodeReply(bytes, part);
      });
      Promise.all(replies).then((messages) => {
        end();
        resolve(messages);
      }, refuse);
    });
  }

  /** One promise per request, also where the transport throws. */
  #send(
    requests: Parameters<ContextTransport['scatter']>[0],
    signal: AbortSignal,
  ): readonly Promise<Uint8Array>[] {
    try {
      return this.#transport.gather(this.#transport.scatter(requests, signal));
    } catch (error) {
      return requests.map(() => Promise.reject(error));
    }
  }
}

function aborted(signal: AbortSignal | undefined): FlashAttentionError {
  const details = { argument: 'options.signal', cause: signal?.reason };
  return new FlashAttentionError('ERR_ABORTED', 'The call was aborted.', details);
}

function missing(part: number, cause: unknown): FlashAttentionError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `Expected a worker for part ${part} but the transport says: ${reason}`;
  return new FlashAttentionError('ERR_PART_MISSING', message, { part, cause });
}

function timedOut(waiting: ReadonlySet<number>, timeoutMs: number): FlashAttentionError {
  const parts = [...waiting].sort((a, b) => a - b);
  const who = parts.length === 1 ? 'part' : 'parts';
  return new FlashAttentionError(
    'ERR_PART_TIMEOUT',
    `Expected ${who} ${parts.join(', ')} to answer within ${timeoutMs} ms but received nothing.`,
    { part: parts[0] },
  );
}
