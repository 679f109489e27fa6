import { type Change, slider } from '../controls.js';
import { h, section, table } from '../dom.js';
import { difference, value } from '../format.js';
import { defaultScores, maxScore } from '../model/settings.js';
import type { View } from '../view.js';
import { lazy, online, safe, subscript, type Way } from './passes.js';

export function softmaxView(change: Change): View {
  let scores = defaultScores;
  const inputs = defaultScores.map((_, j) => {
    const input = h('input', {
      type: 'range',
      min: -maxScore,
      max: maxScore,
      step: 0.5,
      'aria-label': `Score x${j}`,
    });
    input.addEventListener('input', () => {
      change({ scores: scores.map((x, at) => (at === j ? Number(input.value) : x)) });
    });
    return input;
  });
  const readings = defaultScores.map(() => h('output'));
  const shares = defaultScores.map(() => h('i'));
  const columns = inputs.map((input, j) =>
    h(
      'div',
      { class: 'score' },
      h('div', { class: 'share', 'aria-hidden': 'true' }, shares[j]),
      input,
      readings[j],
      h('span', { 'aria-hidden': 'true' }, `x${subscript(j)}`),
    ),
  );
  const chunk = slider({ label: 'Scores per chunk', name: 'chunk' }, change);
  const reset = h('button', { type: 'button' }, 'As at first');
  reset.addEventListener('click', () => change({ scores: defaultScores }));
  const ways = h('div', { class: 'ways' });
  const element = h(
    'div',
    { class: 'softmax' },
    section(
      'One row of scores',
      h('p', {}, 'Drag a score. The bar above it is its probability.'),
      h('div', { class: 'scores' }, ...columns),
      h('div', { class: 'row' }, chunk.element, reset),
    ),
    ways,
  );
  return {
    element,
    title: 'Softmax',
    show(settings) {
      ({ scores } = settings);
      chunk.show(settings);
      const three = [safe(scores), online(scores), lazy(scores, settings.chunk)];
      const [{ p }] = three;
      scores.forEach((x, j) => {
        inputs[j].value = String(x);
        inputs[j].setAttribute('aria-valuetext', `${x}, probability ${value(p[j])}`);
        readings[j].textContent = value(x).replace(/\.?0+$/, '') || '0';
        shares[j].style.height = `${100 * p[j]}%`;
      });
      ways.replaceChildren(...three.map((way) => wayCard(way, p)));
    },
  };
}

function wayCard(way: Way, expected: Float64Array): HTMLElement {
  const most = way.p.reduce((largest, x, j) => Math.max(largest, Math.abs(x - expected[j])), 0);
  const hasRescale = way.moments.some(({ rescale }) => rescale !== undefined);
  const rows = way.moments.map(({ what, m, l, rescale }) => [
    what,
    value(m),
    ...(hasRescale ? [value(rescale)] : []),
    value(l),
  ]);
  const head = ['seen', 'm', ...(hasRescale ? ['ℓ ×'] : []), 'ℓ'];
  const bars = Array.from(way.p, (x) => h('i', { style: `height:${100 * x}%`, title: value(x) }));
  return section(
    way.name,
    h('p', {}, way.passes),
    h('div', { class: 'probabilities', 'aria-hidden': 'true' }, ...bars),
    table(`${way.name}: what is known after each`, head, rows),
    h(
      'p',
      { class: 'result', 'data-difference': most },
      `lse ${value(way.lse)}; largest difference from safe softmax `,
      h('b', {}, difference(most)),
    ),
    h('p', { class: 'source' }, way.source),
  );
}
