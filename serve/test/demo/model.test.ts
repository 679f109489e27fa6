// The model in the repository: what it weighs, what it has learnt, and that it is served as trained.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chatTemplate, drawBatch, learnTokenizer } from '../../demo/corpus/chat.js';
import type { Turn } from '../../demo/corpus/dialogue.js';
import { readDecoder } from '../../demo/export.js';
import { Random } from '../../demo/random.js';
import { demoShape, demoTraining } from '../../demo/settings.js';
import { train, validationLoss } from '../../demo/train.js';
import { loadModelText } from '../../src/model/model-text.js';
import { loadForward, relativeError } from '../forward/forward-tests.js';
import { WholeGraph } from '../forward/whole-graph.js';
import { serveModel } from '../support/serve-model.js';
import { type Json, jsonOf, stopServing } from '../support/serving.js';

const folder = fileURLToPath(new URL('../../demo/model', import.meta.url));
const text = await loadModelText(folder);
const json = (file: string): Json => JSON.parse(readFileSync(path.join(folder, file), 'utf8'));

afterEach(stopServing);

describe('the files of the demo model', () => {
  it('are smaller than 5 MB together', () => {
    const sizes = readdirSync(folder).map((file) => statSync(path.join(folder, file)).size);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(5e6);
  });

  it('are those of the corpus: its tokenizer, its template', () => {
    expect(json('tokenizer.json')).toEqual(learnTokenizer(demoShape.vocab, demoTraining.seed));
    expect(text.chatTemplate).toBe(chatTemplate);
  });

  it('training and server encode a dialogue alike', () => {
    const { tokens, cuSeqlens } = drawBatch(new Random(4), 'training', text.encode, {
      tokens: 300,
      context: demoShape.context,
    });
    for (let n = 1; n < cuSeqlens.length; n++) {
      const dialogue = tokens.slice(cuSeqlens[n - 1], cuSeqlens[n]);
      const turns = turnsOf(dialogue);
      const messages = turns.flatMap(({ user, assistant }) => [
        { role: 'user' as const, content: user },
        { role: 'assistant' as const, content: assistant },
      ]);
      const last = messages.pop();
      const answer = [...text.encode(last?.content ?? ''), text.vocabulary.idOf('<|end|>')];
      expect([...text.encodeChat({ messages }), ...answer]).toEqual([...dialogue]);
    }
  });
});

/** Reads tokens back into words. */
function turnsOf(dialogue: Int32Array): Turn[] {
  const bytes = Array.from(dialogue, (token) => text.vocabulary.bytes(token));
  const said = Buffer.concat(bytes).toString();
  const pattern = /<\|user\|>(.*?)<\|end\|><\|assistant\|>(.*?)<\|end\|>/gs;
  return Array.from(said.matchAll(pattern), ([, user, assistant]) => ({ user, assistant }));
}

describe('what the demo model has learnt', () => {
  it('questions put in ways it has not seen: far better than an untrained one', async () => {
    const { validation, exported } = {
      ...json('training.json').curve.at(-1),
      ...json('training.json'),
    };
    const loss = await validationLoss(readDecoder(folder, demoShape), text.encode);
    expect(Math.abs(loss - exported)).toBeLessThan(1e-3);
    // float16 costs nothing to speak of.
    expect(Math.abs(loss - validation)).toBeLessThan(0.01);
    // Of 1024 tokens an untrained model knows log(1024) = 6.9 nats too little.
    const options = { ...demoTraining, steps: 1, learningRate: 0 };
    const untrained = await train(demoShape, text.encode, options);
    expect(await validationLoss(untrained, text.encode)).toBeGreaterThan(6.5);
    expect(loss).toBeLessThan(1);
  });
});

describe('the exported graph', () => {
  const tokens = text.encodeChat({ messages: [{ role: 'user', content: 'Tell me a story.' }] });
  const rowsOf = (logits: ArrayLike<number>) =>
    Array.from(tokens, (_, row) =>
      Float32Array.from({ length: demoShape.vocab }, (_, i) => logits[row * demoShape.vocab + i]),
    );

  it('has the logits of the decoder that was trained: whole, and cut', async () => {
    const expected = rowsOf(await readDecoder(folder, demoShape).logits(tokens));
    const whole = await WholeGraph.load(folder, demoShape);
    expect(relativeError(await whole.logits(tokens), expected)).toBeLessThan(1e-4);
    await whole.release();
    const forward = await loadForward(folder);
    const sequence = forward.createSequence(tokens, { scope: '', longRope: false });
    const logitsOf = [...tokens.keys()];
    const cut = await forward.run([{ sequence, tokens, logitsOf }]);
    expect(relativeError(cut, expected)).toBeLessThan(1e-4);
    sequence.dispose();
    await forward.close();
  });
});

describe('the demo model, served', () => {
  it.each([
    ['Hello!', 'Hello! What do you want to know?'],
    ['What colour is grass?', 'Grass is green.'],
    ['What is 3 plus 4?', '3 plus 4 is 7.'],
  ])('%s', async (question, answer) => {
    const { post } = await serveModel(folder);
    const body = { messages: [{ role: 'user', content: question }], temperature: 0 };
    const { choices } = await jsonOf(post('/v1/chat/completions', body));
    expect(choices[0].message.content).toBe(answer);
    expect(choices[0].finish_reason).toBe('stop');
  });

  it('continues a chat', async () => {
    const { post } = await serveModel(folder);
    const messages = [
      { role: 'user', content: 'What colour is grass?' },
      { role: 'assistant', content: 'Grass is green.' },
      { role: 'user', content: 'Say river.' },
    ];
    const { choices } = await jsonOf(post('/v1/chat/completions', { messages, temperature: 0 }));
    expect(choices[0].message.content).toBe('River.');
  });

  it('says that it knows no system messages', async () => {
    const { post } = await serveModel(folder);
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello.' },
    ];
    const response = await post('/v1/chat/completions', { messages });
    expect(response.status).toBe(400);
    expect((await jsonOf(response)).error.message).toContain('not the role system');
  });
});
