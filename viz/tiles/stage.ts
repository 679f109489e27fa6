import { h } from '../dom.js';
import { onPaletteChange, readPalette } from '../palette.js';
import { type Geometry, geometryOf } from './geometry.js';
import { drawPicture, type Shot } from './picture.js';

/** What is on the stage. */
export interface Shown extends Shot {
  /** What is seen, for those who do not see it. */
  readonly words: string;
}

/** What the page has above and below the matrix, when it is scrolled to it. */
const roomAround = 440;

/** The canvas of the picture: as wide as there is room, in the colours of the page. */
export class Stage {
  readonly element: HTMLElement;
  private readonly canvas = h('canvas', { role: 'img' });
  private shown: Shown | undefined;
  private geometry: Geometry | undefined;
  private drawnWidth = 0;

  /** @param choose is told which query was clicked. */
  constructor(choose: (row: number) => void) {
    this.element = h('div', { class: 'canvas' }, this.canvas);
    this.canvas.addEventListener('click', ({ offsetY }) => {
      const row = this.rowAt(offsetY);
      if (row !== undefined) choose(row);
    });
    new ResizeObserver(() => {
      if (this.element.clientWidth !== this.drawnWidth) this.draw();
    }).observe(this.element);
    onPaletteChange(() => this.draw());
  }

  show(shown: Shown): void {
    this.shown = shown;
    this.canvas.setAttribute('aria-label', shown.words);
    this.draw();
  }

  private draw(): void {
    const available = this.element.clientWidth;
    if (!this.shown || available === 0) return;
    const { algorithm, problem } = this.shown.scene.run;
    const { seqlenQ, seqlenK } = problem.shape;
    const geometry = geometryOf(algorithm, seqlenQ, seqlenK, available, innerHeight - roomAround);
    const density = Math.max(devicePixelRatio, 2); // paper shows more than the screen
    this.canvas.width = geometry.width * density;
    this.canvas.height = geometry.height * density;
    this.canvas.style.width = `${geometry.width}px`;
    this.canvas.style.height = `${geometry.height}px`;
    const context = this.canvas.getContext('2d') as CanvasRenderingContext2D;
    context.scale(density, density);
    drawPicture(context, readPalette(), geometry, this.shown);
    this.geometry = geometry;
    this.drawnWidth = available;
  }

  private rowAt(y: number): number | undefined {
    if (!this.shown || !this.geometry) return undefined;
    const { matrix } = this.geometry;
    const { seqlenQ } = this.shown.scene.run.problem.shape;
    const row = Math.floor(((y - matrix.y) / matrix.height) * seqlenQ);
    return row >= 0 && row < seqlenQ ? row : undefined;
  }
}
