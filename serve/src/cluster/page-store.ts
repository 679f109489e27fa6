import { nanos } from '@nats-io/transport-node';
import { type ObjectStore, setSha256Backend } from '@nats-io/obj';
import { z } from 'zod';
import type { Connection } from './connection.js';
import { defaultTiming } from './timing.js';

/** Milliseconds after which pages that nobody took are gone. */
export const pagesExpire = 600_000;

/** Bytes of a message: NATS takes 1 MiB. */
const chunk = 2 ** 19;

/** A text whose pages are in the store. */
export interface LeftText {
  readonly pageSize: number;
  /** Hashes of its pages, as prefix-hash.ts has them. */
  readonly pages: readonly number[];
  /** When it came, in milliseconds. */
  readonly since: number;
}

/** What is known of an object beside its bytes. */
const metadata = z.object({
  /** Who takes it has to name the same. */
  scope: z.string(),
  pageSize: z.coerce.number().int().positive(),
  pages: z.string().transform((text) => text.split(',').map(Number)),
});

/** Pages of texts that one worker leaves and another one takes, as objects in JetStream. */
export class PageStore {
  readonly #connection: Connection;
  readonly #patience: number;
  #opened: Promise<ObjectStore> | undefined;

  /** @param patience milliseconds that NATS has for each of its answers. */
  constructor(connection: Connection, patience = defaultTiming.transfer) {
    setSha256Backend('native');
    this.#connection = connection;
    this.#patience = patience;
  }

  /** @returns its name in the store. */
  async put(
    { scope, pageSize, pages }: Omit<LeftText, 'since'> & { readonly scope: string },
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<string> {
    const store = await this.#open();
    const name = leftName(pageSize, pages);
    const about = { scope, pageSize: `${pageSize}`, pages: pages.join() };
    const meta = { name, metadata: about, options: { max_chunk_size: chunk } };
    await store.put(meta, streamOf(bytes, signal));
    return name;
  }

  /** They are no longer there afterwards. @returns undefined: they are not there. */
  async take(name: string, scope: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const store = await this.#open();
    const found = await store.get(name);
    if (found === null) return undefined;
    found.error.catch(() => {}); // it is heard from the stream
    if (found.info.metadata?.scope !== scope) {
      await found.data.cancel();
      return undefined;
    }
    const bytes = await read(found.data, found.info.size, signal);
    await store.delete(name);
    return bytes;
  }

  /** What is there, and then what comes and goes (undefined), until the connection is closed. */
  async watch(heard: (name: string, text: LeftText | undefined) => void): Promise<void> {
    const store = await this.#open();
    const watching = this.#connection.begin(store.watch({ includeHistory: true }));
    for await (const info of await watching) {
      const { name, deleted, mtime } = info;
      const about = metadata.safeParse(info.metadata);
      const isThere = !deleted && about.success;
      heard(name, isThere ? { ...about.data, since: Date.parse(mtime) } : undefined);
    }
  }

  #open(): Promise<ObjectStore> {
    const name = `flash-attention-${this.#connection.subjects.cluster}-pages`;
    const objects = this.#connection.objects(this.#patience);
    this.#opened ??= objects.create(name, { ttl: nanos(pagesExpire) });
    this.#opened.catch(() => {
      this.#opened = undefined;
    });
    return this.#opened;
  }
}

/** The same for the same text: its last page's hash is of all tokens before, too. */
export function leftName(pageSize: number, pages: readonly number[]): string {
  return `${pageSize}.${pages.at(-1)}`;
}

/** A piece at a time; an error once the signal comes. */
function streamOf(bytes: Uint8Array, signal: AbortSignal): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (signal.aborted) controller.error(signal.reason);
      else if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.subarray(at, at + chunk));
      at += chunk;
    },
  });
}

/** @throws the signal's reason when it comes first. */
async function read(
  stream: ReadableStream<Uint8Array>,
  size: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  const reader = stream.getReader();
  const stop = (): void => void reader.cancel().catch(() => {});
  signal.addEventListener('abort', stop);
  try {
    let at = 0;
    signal.throwIfAborted();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      bytes.set(piece.value, at);
      at += piece.value.length;
    }
    signal.throwIfAborted();
    return bytes;
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}
