import { rmSync } from 'node:fs';
import path from 'node:path';
import { modelsFolder } from '../models/index.js';
import { run } from './command.js';

const model = modelsFolder();

test('inspect shows a model as a table', async () => {
  const { code, stdout, stderr } = await run('inspect', model('gemma2'));
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/^model +gemma2, can be served$/m);
  expect(stdout).toMatch(/^files +model\.onnx \(genai layout\)$/m);
  expect(stdout).toMatch(/^layers +0: 4 heads, .*window \d+, softcap 5/m);
});

test('inspect prints one JSON object on request', async () => {
  const { code, stdout } = await run('inspect', '--json', model('llama'));
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ served: true, info: { name: 'llama', layers: 3 } });
});

test('a broken folder has exit code 1 and one line that says what is missing', async () => {
  const folder = model('llama', {}, 'broken');
  rmSync(path.join(folder, 'model.onnx.data'));
  for (const args of [['inspect', folder], [folder]]) {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^error: .*model\.onnx\.data/m);
    expect(stderr).not.toContain('    at ');
  }
});
