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
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const exited = once(server, 'exit');
  for await (const line of createInterface({ input: server.stdout })) {
    const [url] = /http:\S+$/.exec(line) ?? [];
    if (url === undefined) continue;
    return {
      url,
      stop: async () => {
        server.kill('SIGTERM');
        await exited;
      },
    };
  }
  throw new Error('the server did not start');
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
  console.log(`A chat page is at ${url}. Type here to chat; an empty line ends it.\n`);
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' });
  const [{ id: model }] = (await client.models.list()).data;
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' });
  const messages: ChatCompletionMessageParam[] = [];
  try {
    lines.prompt();
    for await (const line of lines) {
      if (line.trim() === '') break;
      messages.push({ role: 'user', content: line });
      const stream = await client.chat.completions.create({
        model,
        messages,
        stream: true,
        stream_options: { include_usage: true },
      });
      let answer = '';
      let tokens = 0;
      for await (const { choices, usage } of stream) {
        const text = choices[0]?.delta.content ?? '';
        answer += text;
        tokens = usage?.total_tokens ?? tokens;
        process.stdout.write(text);
      }
      console.log('\n');
      messages.push({ role: 'assistant', content: answer });
      if (tokens > context / 2) messages.splice(0, 2);
      lines.prompt();
    }
  } finally {
    lines.close();
    await stop();
  }
}
