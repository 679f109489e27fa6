import { setTimeout as delay } from 'node:timers/promises';

/** A conversation of the load: what is said to the model, turn by turn. */
export interface Chat {
  readonly system: string;
  readonly turns: readonly string[];
}

/** What became of it. */
export interface ChatResult {
  readonly answers: readonly string[];
  /** Tokens of all prompts, those of them that were stored, and those of the answers. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /**
   * The least difference of the logarithms of the two likeliest tokens, wherever one was chosen.
   * Within float32's rounding it is a tie, which another order of additions may decide otherwise.
   */
  readonly closest: number;
  /** Times that it was told to come again. */
  readonly refusals: number;
}

/** Chats that begin with one of few system prompts. */
export function chatsOf(
  count: number,
  systems: number,
  systemWords: number,
  turns: number,
): Chat[] {
  return Array.from({ length: count }, (_, i) => ({
    system: wordsOf(1000 + (i % systems), systemWords),
    turns: Array.from({ length: turns }, (__, turn) => wordsOf(7919 * i + turn, 6)),
  }));
}

const words = [
  'river',
  'stone',
  'light',
  'house',
  'apple',
  'wind',
  'road',
  'seven',
  'glass',
  'bird',
];

function wordsOf(seed: number, count: number): string {
  let state = (seed * 48_271 + 11) % 0x7fffffff;
  const next = (): string => {
    state = (state * 48_271) % 0x7fffffff;
    return words[state % words.length];
  };
  return Array.from({ length: count }, next).join(' ');
}

interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

export interface ChatLoad {
  /** Chats at a time. */
  readonly side: number;
  readonly maxTokens: number;
  /** Without them ties are not known. Default: true. */
  readonly logprobs?: boolean;
}

/** Holds a chat, greedily, each turn at another frontend. */
export async function hold(
  chat: Chat,
  urls: readonly string[],
  { maxTokens, logprobs = true }: Omit<ChatLoad, 'side'>,
): Promise<ChatResult> {
  const messages = [{ role: 'system', content: chat.system }];
  const answers: string[] = [];
  let closest = Infinity;
  const total = { promptTokens: 0, cachedTokens: 0, completionTokens: 0, refusals: 0 };
  for (const [turn, content] of chat.turns.entries()) {
    messages.push({ role: 'user', content });
    const body = JSON.stringify({
      ...{
        messages,
        temperature: 0,
        repetition_penalty: 1,
        max_tokens: maxTokens,
        ignore_eos: true,
      },
      ...{ stream: true, stream_options: { include_usage: true } },
      ...(logprobs ? { logprobs, top_logprobs: 2 } : {}),
    });
    let response = await ask(urls[turn % urls.length], body);
    for (; response.status === 429; response = await ask(urls[turn % urls.length], body)) {
      total.refusals++;
      await response.arrayBuffer();
      await delay(1000 * Number(response.headers.get('retry-after')));
    }
    const { text, usage, gaps } = await read(response);
    closest = Math.min(closest, ...gaps);
    answers.push(text);
    messages.push({ role: 'assistant', content: text });
    total.promptTokens += usage.prompt_tokens;
    total.cachedTokens += usage.prompt_tokens_details.cached_tokens;
    total.completionTokens += usage.completion_tokens;
  }
  return { answers, closest, ...total };
}

const ask = (url: string, body: string): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, {
    ...{ method: 'POST', body, headers: { 'content-type': 'application/json' } },
  });

/** @throws Error for an answer that is not complete. */
async function read(response: Response): Promise<{ text: string; usage: Usage; gaps: number[] }> {
  const body = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${body}`);
  const data = body.split('\n\n').filter((block) => block.startsWith('data: '));
  if (data.pop() !== 'data: [DONE]') throw new Error(`cut off: ${body.slice(-500)}`);
  let text = '';
  const gaps: number[] = [];
  let usage: Usage | undefined;
  for (const block of data) {
    const chunk = JSON.parse(block.slice('data: '.length));
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
    for (const { top_logprobs: top } of chunk.choices[0]?.logprobs?.content ?? []) {
      gaps.push(top[0].logprob - top[1].logprob);
    }
  }
  if (usage === undefined) throw new Error('an answer without usage');
  return { text, usage, gaps };
}

/** Holds all chats, so many at a time. */
export async function holdAll(
  chats: readonly Chat[],
  urls: readonly string[],
  load: ChatLoad,
): Promise<ChatResult[]> {
  const results: ChatResult[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < chats.length; i = next++) {
      // Chats begin at one frontend or the other.
      const from = i % urls.length;
      results[i] = await hold(chats[i], [...urls.slice(from), ...urls.slice(0, from)], load);
    }
  };
  await Promise.all(Array.from({ length: load.side }, lane));
  return results;
}
