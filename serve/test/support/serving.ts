import { Server } from '../../src/server/server.js';
import type { ServerOptions } from '../../src/server/context.js';
import { PromptEncoder } from '../../src/text/prompt-encoder.js';
import { loadModelText } from './byte-text.mjs';
import type { Engine } from '../../src/engine/contract.js';

const text = await loadModelText('');
const bytes = { module: new URL('./byte-text.mjs', import.meta.url).href, folder: '' };

/** A server of a test, on a port of its own. */
export interface Serving {
  readonly url: string;
  readonly server: Server;
  /** Lines of the log. */
  readonly log: Record<string, unknown>[];
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

const serving: Server[] = [];

/** The tokenizer of bytes with another chat template. */
export function promptsWith(chatTemplate: string, { info }: Engine): PromptEncoder {
  return new PromptEncoder({ ...text, chatTemplate }, bytes, info.contextLength);
}

/** Serves the engine until {@link stopServing}, with the tokenizer of bytes if with no other. */
export async function serve(
  engine: Engine,
  options: Partial<ServerOptions> = {},
  prompts = new PromptEncoder(text, bytes, engine.info.contextLength),
): Promise<Serving> {
  const log: Record<string, unknown>[] = [];
  const server = new Server(engine, prompts, {
    allowedHosts: [],
    samplingDefaults: {},
    defaultMaxTokens: 1024,
    maxBodyBytes: 8 * 2 ** 20,
    keepAliveSeconds: 5,
    stream: { heartbeat: 60_000, stall: 60_000 },
    log: { level: 'debug', stream: { write: (line) => log.push(JSON.parse(line)) } },
    ...options,
  });
  serving.push(server);
  const url = await server.listen('127.0.0.1', 0);
  return {
    url,
    server,
    log,
    post: (path, body, headers) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
  };
}

/** For afterEach: stops every server, with what runs on it. */
export async function stopServing(): Promise<void> {
  await Promise.all(serving.splice(0).map((server) => server.close(0)));
}

/** What tests read of JSON: whether it is there is what they test. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Json = any;

export async function jsonOf(response: Response | Promise<Response>): Promise<Json> {
  return (await response).json();
}

/** The data of server-sent events, `[DONE]` as it is, comments left out. */
export async function eventsOf(response: Response): Promise<Json[]> {
  const blocks = (await response.text())
    .split('\n\n')
    .filter((block) => block.startsWith('data: '));
  return blocks.map((block) => {
    const data = block.slice('data: '.length);
    return data === '[DONE]' ? data : JSON.parse(data);
  });
}

/** Waits until the condition holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Every field of OpenAI's error body, and no other. */
export function expectErrorBody(body: Json): void {
  expect(Object.keys(body)).toEqual(['error']);
  expect(Object.keys(body.error)).toEqual(['message', 'type', 'param', 'code']);
  expect(typeof body.error.message).toBe('string');
}
