import { h } from '../dom.js';
import type { AlgorithmName } from '../model/settings.js';

/** What the marks of the picture mean. */
export function legend(name: AlgorithmName): HTMLElement {
  const entry = (mark: string, text: string) =>
    h('li', {}, h('i', { class: `mark ${mark}` }), text);
  const scores =
    name === 'standard'
      ? [entry('scores', 'S or P, stored in HBM')]
      : [
          entry('active', 'scores of the tile at work'),
          entry('done', 'done: its scores are forgotten'),
          entry('skipped', 'skipped tile'),
        ];
  return h(
    'ul',
    { class: 'legend' },
    entry('inside', 'in SRAM'),
    entry('outside', 'in HBM'),
    ...scores,
    entry('hidden', 'hidden pair'),
  );
}
