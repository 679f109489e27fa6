import { PromptEncoder } from '../../src/text/prompt-encoder.js';
import { ids, loadModelText } from '../support/byte-text.mjs';

const module = new URL('../support/byte-text.mjs', import.meta.url).href;
const text = await loadModelText('');
let encoder: PromptEncoder;

beforeEach(() => {
  encoder = new PromptEncoder(text, { module, folder: '' }, 10_000_000);
});

afterEach(() => encoder.close());

const { signal } = new AbortController();

test.each([10, 5000])('a prompt of %d characters has the same ids in either thread', async (n) => {
  const prompt = 'é'.repeat(n);
  const found = await encoder.encode(prompt, signal);
  expect(found).toEqual(text.encode(prompt));
  const messages = [{ role: 'user', content: prompt }] as const;
  expect(await encoder.encode({ messages }, signal)).toEqual(text.encodeChat({ messages }));
});

test('five megabytes leave the thread free while they are encoded', async () => {
  let done = false;
  const encoding = encoder.encode(`slow:${'a'.repeat(5_000_000)}`, signal).then((found) => {
    done = true;
    return found;
  });
  let turns = 0;
  for (; !done; turns++) await new Promise((resolve) => setTimeout(resolve, 1));
  // One would be all that is left if the thread had been busy.
  expect(turns).toBeGreaterThan(5);
  const found = await encoding;
  expect(found.length).toBe(1 + 5_000_005);
  expect(found[0]).toBe(ids.bos);
});

test('a client that left ends the work on its prompt', async () => {
  const gone = new AbortController();
  const encoding = encoder.encode(`slow:${'a'.repeat(5000)}`, gone.signal);
  gone.abort();
  await expect(encoding).rejects.toThrow('abort');
  // The worker's place is free again.
  expect(await encoder.encode('a'.repeat(5000), signal)).toHaveLength(5001);
});

test('the refusal of a template comes through from the worker', async () => {
  const content = 'a'.repeat(5000);
  const messages = [
    { role: 'user', content },
    { role: 'system', content },
  ] as const;
  await expect(encoder.encode({ messages }, signal)).rejects.toMatchObject({
    ...{ name: 'ChatTemplateError', message: 'System messages come first!' },
  });
});
