// Controls of the settings: each is made once and shows whatever the settings become.
import { h } from './dom.js';
import { type NumberName, numbers, type Settings } from './model/settings.js';

/** Changes what is shown; the link follows at once, or later while something plays. */
export type Change = (change: Partial<Settings>, isPlaying?: boolean) => void;

export interface Control {
  readonly element: HTMLElement;
  show(settings: Settings): void;
}

interface SliderOptions {
  readonly label: string;
  readonly name: NumberName;
  readonly step?: number;
  /** What the number reads as. Default: itself. */
  readonly text?: (x: number) => string;
  /** Whether the algorithm has this. */
  readonly isUsed?: (settings: Settings) => boolean;
}

/** What a change of the problem does to the player: a new run begins with its first step. */
const restart: ReadonlySet<string> = new Set([
  ...['n', 'd', 'blockQ', 'blockK', 'splits', 'window', 'group', 'seed'],
]);

export function slider(options: SliderOptions, change: Change): Control {
  const { label, name, step = 1, text = String, isUsed = () => true } = options;
  const { min, max } = numbers[name];
  const input = h('input', { type: 'range', id: name, min, max, step });
  const output = h('output', { for: name });
  input.addEventListener('input', () => {
    change({ [name]: Number(input.value), ...(restart.has(name) && { step: 0 }) });
  });
  const element = h('div', { class: 'control' }, h('label', { for: name }, label), output, input);
  return {
    element,
    show(settings) {
      element.hidden = !isUsed(settings);
      const x = settings[name];
      if (Number(input.value) !== x) input.value = String(x);
      output.textContent = text(x);
      input.setAttribute('aria-valuetext', text(x));
    },
  };
}

export function numberField(label: string, name: NumberName, change: Change): Control {
  const { min, max } = numbers[name];
  const input = h('input', { type: 'number', id: name, min, max, inputmode: 'numeric' });
  input.addEventListener('change', () => {
    const x = Math.min(Math.max(Math.round(Number(input.value) || 0), min), max);
    input.value = String(x);
    change({ [name]: x, ...(restart.has(name) && { step: 0 }) });
  });
  return {
    element: h('div', { class: 'control inline' }, h('label', { for: name }, label), input),
    show(settings) {
      input.value = String(settings[name]);
    },
  };
}

export function choice<Name extends 'algorithm' | 'pattern'>(
  label: string,
  name: Name,
  options: readonly (readonly [value: Settings[Name], text: string])[],
  change: Change,
  isUsed: (settings: Settings) => boolean = () => true,
): Control {
  const select = h(
    'select',
    { id: name },
    ...options.map(([value, text]) => h('option', { value }, text)),
  );
  select.addEventListener('change', () => change({ [name]: select.value, step: 0, row: 0 }));
  const element = h('div', { class: 'control' }, h('label', { for: name }, label), select);
  return {
    element,
    show(settings) {
      element.hidden = !isUsed(settings);
      select.value = settings[name];
    },
  };
}

export function checkbox(
  label: string,
  change: Change,
  isUsed: (settings: Settings) => boolean,
): Control {
  const input = h('input', { type: 'checkbox', id: 'causal' });
  input.addEventListener('change', () => change({ causal: input.checked, step: 0 }));
  const element = h('div', { class: 'control check' }, input, h('label', { for: 'causal' }, label));
  return {
    element,
    show(settings) {
      element.hidden = !isUsed(settings);
      input.checked = settings.causal;
    },
  };
}
