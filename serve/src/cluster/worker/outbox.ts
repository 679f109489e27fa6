import type { EngineError } from '../../engine/errors.js';
import type { Finish, TokenEvent } from '../../engine/contract.js';
import type { Connection } from '../connection.js';
import { failureOf, type WorkEvent } from '../messages.js';

/** Bytes of a message, about: NATS takes 1 MiB. */
const mostBytes = 2 ** 18;
/** Tokens of one answer in one event: with logprobs they are long. */
const mostTokens = 64;

type TokensEvent = Extract<WorkEvent, { tokens: unknown }> & {
  tokens: number[];
  logprobs?: NonNullable<Extract<WorkEvent, { tokens: unknown }>['logprobs']>;
};

/**
 * What one frontend is to be told. All that happens in a turn of the event loop goes in one
 * message; while NATS is gone it waits here.
 */
export class Outbox {
  readonly #connection: Connection;
  readonly #subject: string;
  readonly #worker: string;
  #events: WorkEvent[] = [];
  /** The latest event of each answer's tokens, which may get more. */
  readonly #open = new Map<string, TokensEvent>();
  #scheduled = false;

  constructor(connection: Connection, frontend: string, worker: string) {
    this.#connection = connection;
    this.#subject = connection.subjects.frontend(frontend);
    this.#worker = worker;
  }

  add(event: WorkEvent): void {
    this.#open.delete(event.id);
    this.#events.push(event);
    this.#schedule();
  }

  /** @param at how many tokens the answer had before. */
  token(id: string, at: number, { token, logprob, top }: TokenEvent): void {
    let event = this.#open.get(id);
    if (event === undefined || event.tokens.length === mostTokens) {
      event = { id, at, tokens: [] };
      this.add(event);
      this.#open.set(id, event);
    }
    event.tokens.push(token);
    if (logprob === undefined) return;
    event.logprobs ??= [];
    event.logprobs.push([logprob, (top ?? []).map((each) => [each.token, each.logprob])]);
  }

  finish(id: string, { error, ...finish }: Finish): void {
    this.add({ id, finish, ...(error ? { failure: failureOf(error as EngineError) } : {}) });
  }

  /** Tells what work there is, after all that happened to it. */
  live(live: [id: string, tokens: number][]): void {
    this.flush();
    if (this.#events.length > 0) return;
    this.#connection.publish(this.#subject, { worker: this.#worker, live });
  }

  flush(): void {
    if (!this.#connection.isConnected) return;
    let texts: string[] = [];
    let bytes = 0;
    const send = (): void => {
      const text = `{"worker":${JSON.stringify(this.#worker)},"events":[${texts.join()}]}`;
      this.#connection.publish(this.#subject, Buffer.from(text));
      texts = [];
      bytes = 0;
    };
    for (const event of this.#events) {
      const text = JSON.stringify(event);
      if (texts.length > 0 && bytes + text.length > mostBytes) send();
      texts.push(text);
      bytes += text.length;
    }
    if (texts.length > 0) send();
    this.#events = [];
    this.#open.clear();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }
}
