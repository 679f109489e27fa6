import { h, svg } from '../dom.js';
import { count } from '../format.js';

const speeds = [2, 8, 32, 128];

/** Paths of the buttons, 16 by 16. */
const icons = {
  first: 'M3 3h2v10H3zM13 3v10L6 8z',
  back: 'M11 3v10L4 8z',
  next: 'M5 3v10l7-5z',
  last: 'M11 3h2v10h-2zM3 3v10l7-5z',
};

/** The buttons, the slider and the clock that move through the steps of a run. */
export class Player {
  readonly element: HTMLElement;
  private readonly play = h('button', { type: 'button', class: 'primary', id: 'play' });
  private readonly scrub = h('input', { type: 'range', id: 'scrub', min: 0, step: 1 });
  private readonly position = h('output', { for: 'scrub', class: 'position' });
  private readonly speed = h(
    'select',
    { id: 'speed', 'aria-label': 'Steps per second' },
    ...speeds.map((rate) => h('option', { value: rate }, `${rate} steps/s`)),
  );
  private step = 0;
  private steps = 0;
  private frame = 0;

  /** @param go shows a step; while playing, the link is left alone. */
  constructor(private readonly go: (step: number, isPlaying: boolean) => void) {
    const button = (id: keyof typeof icons, label: string, act: () => void) => {
      const icon = svg('svg', { viewBox: '0 0 16 16' }, svg('path', { d: icons[id] }));
      icon.setAttribute('aria-hidden', 'true');
      const element = h('button', { type: 'button', id, 'aria-label': label, title: label }, icon);
      element.addEventListener('click', act);
      return element;
    };
    this.speed.value = '8';
    this.play.addEventListener('click', () => this.toggle());
    this.scrub.addEventListener('input', () => this.jump(Number(this.scrub.value)));
    this.scrub.setAttribute('aria-label', 'Step');
    this.element = h(
      'div',
      { class: 'player', role: 'group', 'aria-label': 'Player' },
      h(
        'div',
        { class: 'buttons' },
        button('first', 'To the start', () => this.jump(0)),
        button('back', 'One step back', () => this.jump(this.step - 1)),
        this.play,
        button('next', 'One step on', () => this.jump(this.step + 1)),
        button('last', 'To the end', () => this.jump(this.steps)),
        this.speed,
        this.position,
      ),
      this.scrub,
    );
    this.label();
  }

  get isPlaying(): boolean {
    return this.frame !== 0;
  }

  show(step: number, steps: number): void {
    this.step = step;
    this.steps = steps;
    this.scrub.max = String(steps);
    this.scrub.value = String(step);
    this.position.textContent = `${count(step)} / ${count(steps)}`;
    this.scrub.setAttribute('aria-valuetext', `step ${step} of ${steps}`);
  }

  toggle(): void {
    if (this.isPlaying) this.jump(this.step);
    else this.start();
  }

  private start(): void {
    if (this.step >= this.steps) this.step = 0;
    let at = performance.now();
    const tick = (now: number) => {
      const due = Math.floor(((now - at) / 1000) * Number(this.speed.value));
      if (due > 0) {
        at = now;
        const next = Math.min(this.step + due, this.steps);
        if (next === this.steps) {
          this.jump(next);
          return;
        }
        this.go(next, true);
      }
      this.frame = requestAnimationFrame(tick);
    };
    this.frame = requestAnimationFrame(tick);
    this.label();
  }

  pause(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.label();
  }

  /** Ends playing, and shows a step. */
  jump(step: number): void {
    this.pause();
    this.go(Math.min(Math.max(step, 0), this.steps), false);
  }

  private label(): void {
    this.play.textContent = this.isPlaying ? 'Pause' : 'Play';
  }
}
