import type { Finish, GenerationRequest, TokenEvent } from '../../engine/contract.js';
import type { EngineError } from '../../engine/errors.js';
import { LiveGeneration } from '../../engine/generation.js';
import { pageHashes, prefixScope } from '../../engine/prefix-hash.js';
import { errorOf, type WorkEvent } from '../messages.js';
import { TracedWork } from '../tracing.js';
import type { Work } from './work.js';

type TokensEvent = Extract<WorkEvent, { tokens: unknown }>;

/** An answer that a worker makes, and another one goes on with when that one is lost. */
export class RemoteAnswer implements Work {
  readonly generation: LiveGeneration;
  readonly #request: GenerationRequest;
  readonly #longRope: boolean;
  readonly #onEnd: (finish: Finish) => void;
  readonly #generated: number[] = [];
  readonly #trace: TracedWork;
  #ended = false;
  #pages: { size: number; hashes: number[] } | undefined;

  /**
   * @param request with a seed: who goes on with it has the same.
   * @param onCancel its client went away.
   */
  constructor(
    request: GenerationRequest,
    longRope: boolean,
    on: { cancel: (answer: RemoteAnswer) => void; end: (finish: Finish) => void },
  ) {
    this.#request = request;
    this.#longRope = longRope;
    this.#onEnd = on.end;
    this.#trace = TracedWork.begin('answer', {
      'gen_ai.usage.input_tokens': request.prompt.length,
    });
    this.generation = new LiveGeneration(() => on.cancel(this));
  }

  get cancelled(): boolean {
    return this.generation.cancelled;
  }

  get divisible(): boolean {
    return this.#request.maxTokens > 1;
  }

  get received(): number {
    return this.#generated.length;
  }

  get tokens(): number {
    return this.#request.prompt.length + this.#generated.length;
  }

  /** Those of the prompt: what came after is more, where it is at all. */
  pages(size: number): readonly number[] {
    if (this.#pages?.size !== size) {
      const { cacheScope, prompt } = this.#request;
      const scope = prefixScope(cacheScope, this.#longRope);
      this.#pages = { size, hashes: pageHashes(scope, prompt, size) };
    }
    return this.#pages.hashes;
  }

  run(): ReturnType<Work['run']> {
    this.#trace.event('sent', { generated: this.received });
    const trace = this.#trace.headers;
    const generated = Int32Array.from(this.#generated);
    const known = generated.length > 0 ? { generated } : {};
    return { request: { ...this.#request, ...known }, tokens: this.#request.prompt, trace };
  }

  receive(event: WorkEvent): boolean {
    if ('tokens' in event) return this.#take(event);
    if (!('finish' in event)) return true;
    const { finish, failure } = event;
    // Its last tokens are missing.
    if (finish.completionTokens > this.received && !this.cancelled) return false;
    this.#end({ ...finish, ...(failure ? { error: errorOf(failure) } : {}) });
    return true;
  }

  end(error: EngineError | undefined): void {
    this.#end({
      reason: error ? 'error' : 'abort',
      ...(error ? { error } : {}),
      promptTokens: this.#request.prompt.length,
      ...{ cachedTokens: 0, completionTokens: this.received, acceptedTokens: 0 },
    });
  }

  /** Tokens that came before are let go, and none is left out. */
  #take({ at, tokens, logprobs }: TokensEvent): boolean {
    if (at > this.received) return false;
    for (let i = this.received - at; i < tokens.length; i++) {
      this.#generated.push(tokens[i]);
      this.generation.push(tokenEvent(tokens[i], logprobs?.[i]));
    }
    return true;
  }

  #end(finish: Finish): void {
    if (this.#ended) return;
    this.#ended = true;
    const { reason, completionTokens, cachedTokens, error } = finish;
    const counts = { 'gen_ai.usage.output_tokens': completionTokens, cachedTokens };
    this.#trace.end({ 'gen_ai.response.finish_reasons': reason, ...counts }, error);
    this.#onEnd(finish);
    this.generation.end(finish);
  }
}

type Logprobs = NonNullable<TokensEvent['logprobs']>[number];

function tokenEvent(token: number, logprobs: Logprobs | undefined): TokenEvent {
  if (logprobs === undefined) return { token };
  const [logprob, top] = logprobs;
  return {
    token,
    logprob: logprob ?? -Infinity,
    top: top.map(([id, value]) => ({ token: id, logprob: value ?? -Infinity })),
  };
}
