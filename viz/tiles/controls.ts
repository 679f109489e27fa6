import { type Change, type Control, checkbox, choice, numberField, slider } from '../controls.js';
import { algorithms } from '../model/algorithms.js';
import { algorithmNames, type Settings } from '../model/settings.js';

const isTiled = ({ algorithm }: Settings) => algorithm !== 'standard' && algorithm !== 'decoding';

/** The controls of the problem, in their order. */
export function controlsOf(change: Change): Control[] {
  return [
    choice(
      'Algorithm',
      'algorithm',
      algorithmNames.map((name) => [name, algorithms[name].title] as const),
      change,
    ),
    slider({ label: 'Tokens N', name: 'n', step: 4 }, change),
    slider({ label: 'Head dim d', name: 'd' }, change),
    slider(
      {
        label: 'Queries per tile Br',
        name: 'blockQ',
        step: 2,
        isUsed: (settings) => isTiled(settings) && settings.algorithm !== 'flash1',
      },
      change,
    ),
    slider({ label: 'Keys per tile Bc', name: 'blockK', step: 2, isUsed: isTiled }, change),
    slider(
      { label: 'Splits', name: 'splits', isUsed: ({ algorithm }) => algorithm === 'decoding' },
      change,
    ),
    slider({ label: 'Query heads per kv head', name: 'group' }, change),
    checkbox('Causal', change, ({ algorithm }) => algorithm !== 'decoding'),
    slider(
      { label: 'Window', name: 'window', step: 2, text: (x) => (x === 0 ? 'off' : `${x} keys`) },
      change,
    ),
    choice(
      'Block-sparse pattern',
      'pattern',
      [
        ['none', 'none'],
        ['longformer', 'Longformer'],
        ['bigbird', 'BigBird'],
        ['document', 'packed documents'],
      ],
      change,
    ),
    numberField('Seed', 'seed', change),
  ];
}
