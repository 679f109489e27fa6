import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Case, Start } from '../contestant.js';
import { tokensInCache } from './engine.js';

/** The command `flash-attention-serve` in a process of its own, asked over HTTP. */
export const startServer: Start = async (given) => {
  const server = spawn(process.execPath, argumentsOf(given), {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  process.on('exit', () => server.kill()); // a case that fails leaves none behind
  const url = await addressOf(server);
  let peak: number | undefined;
  return {
    async answer(prompt, told) {
      await stream(url, prompt, given.newTokens, told);
      return [];
    },
    peakMemory: () => peak,
    async close() {
      peak = peakOf(server.pid as number);
      server.kill('SIGTERM');
      await once(server, 'exit');
    },
  };
};

function argumentsOf(given: Case): string[] {
  const options = {
    port: 0,
    'max-tokens-in-cache': tokensInCache(given),
    'max-running': given.concurrency,
    'max-queued': 100_000,
    threads: given.threads,
    'log-level': 'error',
    drain: 0,
  };
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  return [main, given.model.folder, ...flags];
}

async function addressOf(server: ChildProcess): Promise<string> {
  const words: string[] = [];
  server.stderr?.on('data', (text) => words.push(`${text}`));
  for await (const line of createInterface({ input: server.stdout as NodeJS.ReadableStream })) {
    const address = / at (http:\S+)$/.exec(line)?.[1];
    if (address) return address;
  }
  throw new Error(`flash-attention-serve did not start: ${words.join('')}`);
}

/** Asks for a stream; every event with a piece of the answer is told. */
async function stream(
  url: string,
  prompt: Int32Array,
  maxTokens: number,
  told: () => void,
): Promise<void> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      prompt: Array.from(prompt),
      ...{ max_tokens: maxTokens, ignore_eos: true, temperature: 0, repetition_penalty: 1 },
      ...{ stream: true, stream_options: { include_usage: true } },
    }),
  });
  if (!response.ok || !response.body) throw new Error(await response.text());
  let rest = '';
  let completed: number | undefined;
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + text).split('\n\n');
    rest = events.pop() as string;
    for (const event of events) {
      if (!event.startsWith('data: {')) continue;
      const { choices, usage, error } = JSON.parse(event.slice('data: '.length));
      if (error) throw new Error(error.message);
      if (choices.length > 0 && choices[0].text !== '') told();
      completed = usage?.completion_tokens ?? completed;
    }
  }
  if (completed !== maxTokens) throw new Error(`the answer has ${completed} tokens`);
}

/** Linux says it. */
function peakOf(pid: number): number | undefined {
  try {
    const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}
