import type { Page } from 'playwright-core';
import {
  flashAttention1,
  flashAttention2,
  flashAttentionBackward,
  flashDecoding,
  type IoCounter,
  type MachineOptions,
  type ReferenceProblem,
  standardAttention,
} from '../../../lib/reference/index.js';
import { randomInputs, shapeOf } from '../../reference/random-problem.js';
import { slide, Visitor } from './browser.js';

const visitor = new Visitor();
beforeAll(() => visitor.start());
afterAll(() => visitor.stop());

afterEach(() => {
  expect(visitor.complaints).toEqual([]);
});

const [n, d, blockQ, blockK, splits, group] = [14, 4, 6, 4, 3, 2];
const settings = `n=${n}&d=${d}&blockQ=${blockQ}&blockK=${blockK}&splits=${splits}&group=${group}`;

function backward(problem: ReferenceProblem, machine: MachineOptions): void {
  const { out, lse } = standardAttention(problem);
  flashAttentionBackward(problem, { dOut: out, out, lse }, { ...machine, blockQ, blockK });
}

type Run = (problem: ReferenceProblem, machine: MachineOptions) => unknown;

const algorithms: Record<string, Run> = {
  standard: standardAttention,
  flash1: (problem, machine) => flashAttention1(problem, { ...machine, sramSize: 4 * d * blockK }),
  flash2: (problem, machine) => flashAttention2(problem, { ...machine, blockQ, blockK }),
  decoding: (problem, machine) => flashDecoding(problem, { ...machine, numSplits: splits }),
  backward,
};

/** What the reference counts, called from here. Traffic depends on shapes and masks alone. */
function counted(name: string, causal: boolean): IoCounter {
  const seqlenQ = name === 'decoding' ? 1 : n;
  const shape = shapeOf({ seqlenQ, seqlenK: n, heads: group, kvHeads: 1, headDim: d });
  const io = { loads: 0, stores: 0 };
  algorithms[name]({ ...randomInputs(shape, 1), causal }, { io });
  return io;
}

const numberOf = async (page: Page, selector: string, attribute: string) =>
  Number(await page.locator(selector).getAttribute(attribute));

async function atEnd(page: Page): Promise<void> {
  await page.locator('#result[data-difference]').waitFor();
}

const cases = Object.keys(algorithms).flatMap((name) =>
  [false, true].map((causal) => ({ name, causal })),
);

test.each(cases)(
  '$name, causal $causal, played to its end: the counts of the reference, the result of standard attention',
  async ({ name, causal }) => {
    const fragment = `#tiles?algorithm=${name}&${settings}${causal ? '&causal=1' : ''}`;
    const page = await visitor.open({ fragment });
    await page.locator('#speed').selectOption('128');
    await page.locator('#play').click();
    await atEnd(page);
    expect({
      loads: await numberOf(page, '#loads', 'data-count'),
      stores: await numberOf(page, '#stores', 'data-count'),
    }).toEqual(counted(name, causal));
    expect(await numberOf(page, '#result', 'data-difference')).toBeLessThan(1e-12);
    await page.close();
  },
);

/** Everything that the view says. */
const said = (page: Page) =>
  Promise.all([
    page.locator('main').textContent(),
    page.evaluate<string>('document.querySelector("canvas").toDataURL()'),
    ...['n', 'd', 'blockQ', 'blockK', 'window', 'group', 'seed', 'row', 'scrub'].map((id) =>
      page.locator(`#${id}`).inputValue(),
    ),
    page.locator('#causal').isChecked(),
    ...['algorithm', 'pattern'].map((id) => page.locator(`#${id}`).inputValue()),
  ]);

test('a link shows what was seen where it was copied', async () => {
  const page = await visitor.open();
  await slide(page, 'n', 48);
  await slide(page, 'blockK', 12);
  await slide(page, 'group', 2);
  await page.locator('#pattern').selectOption('longformer');
  await page.locator('#causal').check();
  await page.locator('#seed').fill('7');
  await page.locator('#row').fill('33');
  await page.locator('#row').blur();
  await slide(page, 'scrub', 41);
  await page.waitForURL(/step=41/);
  const there = await visitor.open({ fragment: new URL(page.url()).hash });
  expect(await said(there)).toEqual(await said(page));
  expect(await page.locator('#n').inputValue()).toBe('48');
  await page.close();
  await there.close();
});

test('the address of another link is followed without loading the page again', async () => {
  const page = await visitor.open();
  await page.evaluate('location.hash = "#tiles?algorithm=backward&n=16"');
  await page.getByRole('heading', { name: 'Backward pass' }).waitFor();
  expect(await page.locator('#n').inputValue()).toBe('16');
  await page.close();
});

test('keys play, pause, step and jump', async () => {
  const page = await visitor.open({ fragment: '#tiles?n=32' });
  const step = () => page.locator('#scrub').inputValue();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  expect(await step()).toBe('2');
  await page.keyboard.press('ArrowLeft');
  expect(await step()).toBe('1');
  await page.keyboard.press('End');
  expect(await step()).toBe(await page.locator('#scrub').getAttribute('max'));
  await page.keyboard.press('Home');
  expect(await step()).toBe('0');
  await page.keyboard.press('Space');
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  await page.keyboard.press('Space');
  await page.getByRole('button', { name: 'Play' }).waitFor();
  await page.close();
});

test('every control can be reached and worked with the keyboard alone', async () => {
  const page = await visitor.open();
  const reached = new Set<string>();
  for (let press = 0; press < 60; press++) {
    await page.keyboard.press('Tab');
    const id = await page.evaluate<string>(
      'document.activeElement.id || document.activeElement.textContent',
    );
    reached.add(id);
  }
  const ids = ['algorithm', 'n', 'd', 'blockQ', 'blockK', 'group', 'causal', 'window', 'pattern'];
  for (const id of [...ids, 'seed', 'play', 'next', 'scrub', 'speed', 'row', 'Softmax', 'Causal']) {
    expect(reached).toContain(id);
  }
  await page.locator('#n').focus();
  await page.keyboard.press('ArrowRight');
  expect(await page.locator('#n').inputValue()).toBe('68');
  expect(await page.evaluate('document.activeElement.id')).toBe('n');
  await page.close();
});

test('presets show their masks, and tiles without a visible pair are skipped', async () => {
  const page = await visitor.open();
  for (const name of ['Causal', 'Sliding window', 'Longformer', 'BigBird', 'Packed documents']) {
    await page.getByRole('button', { name, exact: true }).click();
    await page.locator('#last').click();
    await atEnd(page);
    expect(await numberOf(page, '#result', 'data-difference')).toBeLessThan(1e-12);
    const loads = await numberOf(page, '#loads', 'data-count');
    const tokens = Number(await page.locator('#n').inputValue());
    const tiles = Math.ceil(tokens / Number(await page.locator('#blockQ').inputValue()));
    expect(loads).toBeLessThan(tokens * 8 + tiles * 2 * tokens * 8); // those of full attention
  }
  await page.close();
});

test('a click on the picture chooses the query', async () => {
  const page = await visitor.open({ fragment: '#tiles?n=16' });
  const canvas = page.locator('canvas').first();
  const box = await canvas.boundingBox();
  if (!box) throw new Error('the canvas has no box');
  await canvas.click({ position: { x: box.width / 2, y: box.height / 2 } });
  expect(Number(await page.locator('#row').inputValue())).toBeGreaterThan(3);
  await page.close();
});
