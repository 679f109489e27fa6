import fc from 'fast-check';
import { presetChange, presets } from '../../viz/model/presets.js';
import {
  algorithmNames,
  defaults,
  maxScore,
  type NumberName,
  numbers,
  patterns,
  readFragment,
  type Settings,
  views,
  writeFragment,
} from '../../viz/model/settings.js';

const anySettings: fc.Arbitrary<Settings> = fc
  .record({
    view: fc.constantFrom(...views),
    algorithm: fc.constantFrom(...algorithmNames),
    pattern: fc.constantFrom(...patterns),
    causal: fc.boolean(),
    scores: fc.array(
      fc.integer({ min: -2 * maxScore, max: 2 * maxScore }).map((x) => x / 2),
      { minLength: defaults.scores.length, maxLength: defaults.scores.length },
    ),
    ...(Object.fromEntries(
      Object.entries(numbers).map(([name, { min, max }]) => [name, fc.integer({ min, max })]),
    ) as Record<NumberName, fc.Arbitrary<number>>),
  })
  .map((settings) => settings as Settings);

test('a link gives back the settings it was made of', () => {
  fc.assert(
    fc.property(anySettings, (settings) => {
      expect(readFragment(writeFragment(settings))).toEqual(settings);
    }),
  );
});

test('a link says only what differs from the defaults', () => {
  expect(writeFragment(defaults)).toBe('#tiles');
  expect(writeFragment({ ...defaults, view: 'softmax', n: 32, causal: true })).toBe(
    '#softmax?n=32&causal=1',
  );
});

test.each(['', '#', '#nowhere', '#tiles?n=', '#tiles?n=abc&algorithm=flash9&pattern=__proto__'])(
  'of a link that says nothing of use, %p, the defaults are shown',
  (fragment) => {
    expect(readFragment(fragment)).toEqual(defaults);
  },
);

test('numbers beyond what the page has room for are brought within', () => {
  expect(readFragment('#tiles?n=999999&d=0&group=-3')).toMatchObject({ n: 128, d: 1, group: 1 });
  const scores = Array(12).fill(99).join();
  expect(readFragment(`#softmax?scores=${scores}`).scores).toEqual(Array(12).fill(maxScore));
  expect(readFragment('#softmax?scores=1,2').scores).toEqual(defaults.scores);
});

test('presets stay within what a link can say', () => {
  for (const preset of presets) {
    for (const algorithm of algorithmNames) {
      const settings = { ...defaults, ...presetChange(preset, algorithm) };
      expect(readFragment(writeFragment(settings))).toEqual(settings);
    }
  }
});

test('a preset undoes the one before it', () => {
  const [full] = presets;
  for (const preset of presets) {
    const after = { ...defaults, ...presetChange(preset, 'flash2') };
    expect({ ...after, ...presetChange(full, after.algorithm) }).toEqual(defaults);
  }
});
