import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import OpenAI from 'openai';
import type { ChatCompletionMessageParam } from 'openai/resources/chat/completions';

/** A server in a process of its own. */
interface Served {
  readonly url: string;
  stop(): Promise<void>;
}

async function serve(main: string, folder: string, port: number): Promise<Served> {
  const server = spawn(
    process.execPath,
    [main, folder, '--port', `${port}`, '--log-level', 'warn'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  server.stderr.pipe(process.stderr);
  const exited = once(server, 'exit');
  for await (const line of createInterface({ input: server.stdout })) {
    const [url] = /http:\S+$/.exec(line) ?? [];
    if (url === undefined) continue;
    return {
      url,
      stop: async () => {
        server.stderr.unpipe().resume(); // that it stops now is no news
        server.kill('SIGTERM');
        await exited;
      },
    };
  }
  throw new Error('the server did not start');
}

/** Prints an answer while it comes. @returns it, and the tokens of the chat with it. */
async function answer(
  client: OpenAI,
  model: string,
  messages: ChatCompletionMessageParam[],
): Promise<{ text: string; tokens: number }> {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '';
  let tokens = 0;
  for await (const { choices, usage } of stream) {
    const piece = choices[0]?.delta.content ?? '';
    text += piece;
    tokens = usage?.total_tokens ?? tokens;
    process.stdout.write(piece);
  }
  return { text, tokens };
}

/**
 * Serves the folder and answers what is typed, line by line, until the input ends. The model has a
 * short context: the oldest turns are forgotten once half of it is full.
 *
 * @param main the server's command line, compiled.
 */
export async function chat(
  main: string,
  { folder, port, context }: { folder: string; port: number; context: number },
): Promise<void> {
  const { url, stop } = await serve(main, folder, port);
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' });
  const messages: ChatCompletionMessageParam[] = [];
  try {
    const [{ id: model }] = (await client.models.list()).data;
    console.log(`A chat page is at ${url}. Type here to chat; an empty line ends it.\n`);
    const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' });
    lines.prompt();
    for await (const line of lines) {
      if (line.trim() === '') break;
      messages.push({ role: 'user', content: line });
      try {
        const { text, tokens } = await answer(client, model, messages);
        console.log('\n');
        messages.push({ role: 'assistant', content: text });
        if (tokens > context / 2) messages.splice(0, 2);
      } catch (error) {
        // Such as a line that is longer than the context.
        if (!(error instanceof OpenAI.BadRequestError)) throw error;
        console.log(`${error.message}\n`);
        messages.pop();
      }
      lines.prompt();
    }
    lines.close();
  } finally {
    await stop();
  }
}
