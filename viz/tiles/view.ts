import { type Change, numberField } from '../controls.js';
import { h, section } from '../dom.js';
import { type Run, runAlgorithm } from '../model/algorithms.js';
import { isShown, presetChange, presets } from '../model/presets.js';
import { countStops, type MachineState, peakSram, stateAfter } from '../model/replay.js';
import { defaults, type Settings } from '../model/settings.js';
import type { View } from '../view.js';
import { controlsOf } from './controls.js';
import { describeStep } from './describe.js';
import { legend } from './legend.js';
import { loopPanel, resultPanel, rowPanel, sramPanel, trafficPanel } from './panels.js';
import { Player } from './player.js';
import { type Scene, sceneOf } from './scene.js';
import { Stage } from './stage.js';

/** The settings that make a run what it is. */
const runKey = ({ view: _, step: __, row: ___, scores: ____, ...rest }: Settings) =>
  JSON.stringify(rest);

/** A run, and what it takes to show it. */
interface Played {
  readonly key: string;
  readonly run: Run;
  readonly scene: Scene;
  readonly stops: number;
  /** The most elements in SRAM. */
  readonly peak: number;
}

function play(settings: Settings): Played {
  const run = runAlgorithm(settings);
  const { steps } = run;
  const stops = countStops(steps);
  return { key: runKey(settings), run, scene: sceneOf(run), stops, peak: peakSram(steps) };
}

export function tilesView(change: Change): View {
  const heading = h('h2', {});
  const status = h('p', { class: 'status', id: 'status', 'aria-live': 'polite' });
  const stage = new Stage((row) => change({ row }));
  const player = new Player((step, isPlaying) => change({ step }, isPlaying));
  const controls = controlsOf(change);
  const rowField = numberField('Row', 'row', change);
  const [legendPlace, loop, traffic, sram, row] = [0, 1, 2, 3, 4].map(() => h('div'));
  const presetButtons = presets.map((preset) => {
    const button = h('button', { type: 'button' }, preset.name);
    button.addEventListener('click', () => change(presetChange(preset, settings.algorithm)));
    return { preset, button };
  });
  const element = h(
    'div',
    { class: 'tiles' },
    h(
      'div',
      { class: 'presets', role: 'group', 'aria-label': 'Presets' },
      ...presetButtons.map(({ button }) => button),
    ),
    h(
      'section',
      { class: 'card controls', 'aria-label': 'Controls' },
      ...controls.map((control) => control.element),
    ),
    h(
      'section',
      { class: 'card stage', 'aria-label': 'Picture' },
      heading,
      player.element,
      status,
      stage.element,
      legendPlace,
    ),
    h(
      'div',
      { class: 'panels' },
      section('The loop', loop),
      section('HBM traffic', traffic),
      section('In SRAM', sram),
      section('One query', rowField.element, row),
    ),
  );

  let settings = defaults;
  let played: Played | undefined;

  function showPanels({ run, stops, peak }: Played, state: MachineState): void {
    loop.replaceChildren(loopPanel(run.algorithm, state));
    traffic.replaceChildren(trafficPanel(run, state), resultPanel(run, settings.step === stops));
    sram.replaceChildren(sramPanel(state, peak));
    row.replaceChildren(rowPanel(run, state));
  }

  return {
    element,
    title: 'Tiles',
    show(next) {
      if (played?.key !== runKey(next)) {
        played = play(next);
        legendPlace.replaceChildren(legend(next.algorithm));
      }
      const { run, scene, stops } = played;
      const { seqlenQ, heads } = run.problem.shape;
      const chosen = Math.min(next.row, seqlenQ - 1);
      settings = { ...next, step: Math.min(next.step, stops), row: chosen };
      const state = stateAfter(run.steps, settings.step, chosen);

      for (const control of [...controls, rowField]) control.show(settings);
      for (const { preset, button } of presetButtons) {
        button.setAttribute('aria-pressed', String(isShown(preset, settings)));
      }
      rowField.element.hidden = seqlenQ === 1;
      player.show(settings.step, stops);
      heading.textContent = run.algorithm.title + (heads > 1 ? `, head ${state.head}` : '');
      status.setAttribute('aria-live', player.isPlaying ? 'off' : 'polite');
      status.textContent = describeStep(state.last);
      showPanels(played, state);
      const words = `${heading.textContent}: ${status.textContent}`;
      stage.show({ scene, state, row: chosen, words });
    },
    hide: () => player.pause(),
    press(event) {
      const keys: Record<string, () => void> = {
        ' ': () => player.toggle(),
        ArrowRight: () => player.jump(settings.step + 1),
        ArrowLeft: () => player.jump(settings.step - 1),
        Home: () => player.jump(0),
        End: () => player.jump(Infinity),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    },
  };
}
