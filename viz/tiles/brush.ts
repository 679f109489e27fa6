import type { Box } from './geometry.js';

/** The few things that the picture is drawn with. */
export class Brush {
  constructor(readonly context: CanvasRenderingContext2D) {}

  fill(box: Box, color: string, alpha = 1): void {
    this.context.globalAlpha = alpha;
    this.context.fillStyle = color;
    this.context.fillRect(box.x, box.y, box.width, box.height);
    this.context.globalAlpha = 1;
  }

  outline(box: Box, color: string, width: number, dash: readonly number[] = []): void {
    this.context.strokeStyle = color;
    this.context.lineWidth = width;
    this.context.setLineDash([...dash]);
    this.context.strokeRect(box.x, box.y, box.width, box.height);
    this.context.setLineDash([]);
  }

  /** Lines across the box, from bottom left to top right. */
  hatch({ x, y, width, height }: Box, color: string): void {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.strokeStyle = color;
    context.globalAlpha = 0.45;
    context.lineWidth = 1;
    context.beginPath();
    for (let at = -height; at < width; at += 6) {
      context.moveTo(x + at, y + height);
      context.lineTo(x + at + height, y);
    }
    context.stroke();
    context.restore();
  }

  text(text: string, x: number, y: number, align: CanvasTextAlign, color: string): void {
    this.context.fillStyle = color;
    this.context.font = '600 13px ui-monospace, Menlo, Consolas, monospace';
    this.context.textAlign = align;
    this.context.fillText(text, x, y);
  }
}
