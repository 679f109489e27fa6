// `npm run demo`: a chat with the small model in serve/demo/model, or with one that is trained first.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Presets, SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import { loadModelText } from '../src/model/model-text.js';
import { chat } from './chat.js';
import { learnTokenizer } from './corpus/chat.js';
import { exportDecoder, readDecoder } from './export.js';
import { demoShape, demoTraining } from './settings.js';
import { type LossPoint, train, validationLoss } from './train.js';

const inServe = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));

function positive(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('Expected a positive integer.');
  return Number(text);
}

const { steps, out, port, ...options } = new Command('demo')
  .description('a chat with a very small model that this repository has trained')
  .option('--train', 'train a model first, and chat with that one')
  .option('--steps <n>', 'of training', positive, demoTraining.steps)
  .option('--out <folder>', 'where a trained model goes', inServe('build-demo/model'))
  .option('--no-chat', 'only train')
  .option('--port <number>', 'of the server; default: a free one', positive)
  .parse()
  .opts();

const folder = options.train ? path.resolve(out) : inServe('demo/model');
if (options.train) await trainInto(folder);
if (options.chat) {
  await chat(inServe('dist/cli/main.js'), { folder, port: port ?? 0, context: demoShape.context });
}

/** Trains a model and writes it, with its loss curve beside it. */
async function trainInto(into: string): Promise<void> {
  const training = { ...demoTraining, steps };
  const tokenizer = learnTokenizer(demoShape.vocab, training.seed);
  mkdirSync(into, { recursive: true });
  writeFileSync(path.join(into, 'tokenizer.json'), `${JSON.stringify(tokenizer, null, 1)}\n`);
  const { encode } = await loadModelText(into);
  const curve: LossPoint[] = [];
  const bar = new SingleBar(
    {
      format:
        'training {bar} {value}/{total} steps  loss {loss}  validation {validation}  {eta_formatted}',
      hideCursor: true,
      noTTYOutput: true,
      notTTYSchedule: 10_000,
      etaBuffer: 20,
    },
    Presets.shades_classic,
  );
  bar.start(steps, 0, { loss: '', validation: '' });
  const decoder = await train(demoShape, encode, training, (step, loss, point) => {
    if (point) curve.push(point);
    const validation = point ? { validation: point.validation.toFixed(3) } : {};
    bar.update(step, { loss: loss.toFixed(3), ...validation });
  });
  bar.stop();
  exportDecoder(into, decoder, tokenizer);
  const exported = await validationLoss(readDecoder(into, demoShape), encode);
  const losses = { nats: 'per token of an answer', training, curve, exported };
  writeFileSync(path.join(into, 'training.json'), `${JSON.stringify(losses, null, 1)}\n`);
  console.log(`Validation loss ${exported.toFixed(3)} nats per token of an answer; in ${into}`);
}
