import { ScriptedEngine, saying, silent, tokensOf } from '../support/scripted-engine.js';
import { eventsOf, jsonOf, type Serving, serve, stopServing, until } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'a secret prompt' }] } as const;
const chat = '/v1/chat/completions';

/** Values of /metrics by name and labels, without the model's name. */
async function metricsOf({ url }: Serving): Promise<Map<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ');
      const name = line.slice(0, end).replace(/,?model_name="test-model"/, '');
      return [name.replace('{}', ''), Number(line.slice(end + 1))];
    }),
  );
}

describe('/metrics', () => {
  test('has the names that dashboards use, and the label of the model', async () => {
    const { url } = await serve(new ScriptedEngine(saying('a')));
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0.0.4/);
    const text = await response.text();
    for (const name of [
      ...['vllm:num_requests_running', 'vllm:num_requests_waiting', 'vllm:kv_cache_usage_perc'],
      ...['vllm:prefix_cache_queries_total', 'vllm:prefix_cache_hits_total'],
      ...['vllm:num_preemptions_total', 'vllm:prompt_tokens_total', 'vllm:generation_tokens_total'],
    ]) {
      expect(text).toContain(`\n${name}{model_name="test-model"} 0\n`);
    }
    for (const name of [
      ...['time_to_first_token_seconds', 'inter_token_latency_seconds'],
      ...['e2e_request_latency_seconds', 'request_decode_time_seconds'],
      ...['request_prompt_tokens', 'request_generation_tokens'],
    ]) {
      expect(text).toContain(`# TYPE vllm:${name} histogram`);
    }
  });

  test('shows what runs while it runs, and nothing when all have been cancelled', async () => {
    const engine = new ScriptedEngine(silent);
    const serving = await serve(engine);
    const abort = new AbortController();
    const asked = Array.from({ length: 4 }, () =>
      fetch(serving.url + chat, {
        ...{ method: 'POST', body: JSON.stringify(hello), signal: abort.signal },
        headers: { 'content-type': 'application/json' },
      }).catch(() => undefined),
    );
    await until(() => engine.live.size === 4);
    const during = await metricsOf(serving);
    expect(during.get('vllm:num_requests_running')).toBe(4);
    expect(during.get('vllm:kv_cache_usage_perc')).toBe(0.04);
    abort.abort();
    await Promise.all(asked);
    await until(() => engine.live.size === 0);
    const after = await metricsOf(serving);
    expect(after.get('vllm:num_requests_running')).toBe(0);
    expect(after.get('vllm:kv_cache_usage_perc')).toBe(0);
  });

  test('counts each answer under one reason, and the first token of those that had one', async () => {
    const engine = new ScriptedEngine(saying('one STOP two'));
    const serving = await serve(engine);
    const ask = async (body: object) =>
      (await serving.post(chat, { ...hello, ...body })).arrayBuffer();
    await ask({});
    await ask({ max_tokens: 3, stream: true });
    await ask({ stop: 'STOP' });
    engine.script = async function* (request) {
      yield* tokensOf('ab', request);
      engine.die();
    };
    await ask({});
    engine.healthy = true;
    engine.script = saying('abc');
    await ask({ n: 2 });
    await ask({ temperature: 9 });
    const metrics = await metricsOf(serving);
    const reasons = ['stop', 'length', 'abort', 'error'].map((reason) =>
      metrics.get(`vllm:request_success_total{finished_reason="${reason}"}`),
    );
    expect(reasons).toEqual([4, 1, 0, 1]);
    for (const name of ['time_to_first_token_seconds', 'e2e_request_latency_seconds']) {
      expect(metrics.get(`vllm:${name}_count`)).toBe(6);
    }
  });

  test('counts a client that went away as an abort without a first token', async () => {
    const engine = new ScriptedEngine(silent);
    const serving = await serve(engine);
    const abort = new AbortController();
    const asked = fetch(serving.url + chat, {
      ...{ method: 'POST', body: JSON.stringify(hello), signal: abort.signal },
      headers: { 'content-type': 'application/json' },
    }).catch(() => undefined);
    await until(() => engine.live.size === 1);
    abort.abort();
    await asked;
    await until(() => engine.live.size === 0);
    const metrics = await metricsOf(serving);
    expect(metrics.get('vllm:request_success_total{finished_reason="abort"}')).toBe(1);
    expect(metrics.get('vllm:time_to_first_token_seconds_count')).toBe(0);
    expect(
      metrics.get(
        `flash_attention_serve_http_responses_total{route="/v1/chat/completions",status="499"}`,
      ),
    ).toBe(1);
  });

  test('is there while the engine is not, and shows nothing that ran there', async () => {
    const engine = new ScriptedEngine(silent);
    const serving = await serve(engine);
    const asked = serving.post(chat, hello);
    await until(() => engine.live.size === 1);
    expect((await metricsOf(serving)).get('vllm:num_requests_running')).toBe(1);
    engine.die();
    await asked;
    const metrics = await metricsOf(serving);
    expect(metrics.get('vllm:num_requests_running')).toBe(0);
    expect(metrics.get('vllm:e2e_request_latency_seconds_count')).toBe(1);
  });
});

test('/stats tells the engine and the model', async () => {
  const { url } = await serve(new ScriptedEngine(saying('a')));
  expect(await jsonOf(fetch(`${url}/stats`))).toMatchObject({
    model: { name: 'test-model', context_length: 4096 },
    cache: { pages: 100, used: 0 },
    running: 0,
  });
});

describe('the log', () => {
  test('has a line for each response and no text of prompts or answers', async () => {
    const { post, log } = await serve(new ScriptedEngine(saying('a secret answer')));
    await jsonOf(post(chat, hello));
    await eventsOf(await post(chat, { ...hello, stream: true }));
    await jsonOf(post(chat, { ...hello, n: 0 }));
    await jsonOf(post(chat, JSON.stringify(hello).slice(0, -1)));
    await until(() => log.filter(({ route }) => route === chat).length === 4);
    const lines = log.filter(({ route }) => route === chat);
    expect(lines.map(({ method, status }) => [method, status])).toEqual([
      ['POST', 200],
      ['POST', 200],
      ['POST', 400],
      ['POST', 400],
    ]);
    expect(JSON.stringify(log)).not.toContain('secret');
  });

  test('names fields that were ignored, and not what they say', async () => {
    const { post, log } = await serve(new ScriptedEngine(saying('a')));
    const response = await post(chat, { ...hello, temprature: 0.5, metadata: { a: 'secret' } });
    expect(response.status).toBe(200);
    const [line] = log.filter(({ msg }) => msg === 'fields ignored');
    expect(line.unknown).toEqual(['temprature', 'metadata']);
    expect(JSON.stringify(log)).not.toContain('secret');
  });
});
