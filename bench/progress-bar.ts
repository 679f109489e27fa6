import { Presets, SingleBar } from 'cli-progress';

/** Progress over the cases on stderr: a bar on a terminal, a line a case elsewhere. */
export class ProgressBar {
  readonly #total: number;
  readonly #begin = Date.now();
  readonly #bar: SingleBar | null;
  #done = 0;
  #label = '';

  constructor(total: number) {
    this.#total = total;
    this.#bar = process.stderr.isTTY
      ? new SingleBar(
          {
            format: '{bar} {value}/{total}  {elapsed}  {label}',
            clearOnComplete: true,
            hideCursor: true,
            stream: process.stderr,
          },
          Presets.shades_classic,
        )
      : null;
    this.#start();
  }

  begin(label: string): void {
    this.#label = label;
    this.#bar?.update(this.#done, this.#payload());
    if (!this.#bar) {
      const at = `[${this.#done + 1}/${this.#total}]`;
      process.stderr.write(`${at} ${this.#payload().elapsed} ${label}\n`);
    }
  }

  done(): void {
    this.#done++;
    this.#bar?.update(this.#done, this.#payload());
  }

  /** Takes the bar off the screen while `print` writes. */
  pause(print: () => void): void {
    this.#bar?.stop();
    print();
    this.#start();
  }

  stop(): void {
    this.#bar?.stop();
  }

  #start(): void {
    this.#bar?.start(this.#total, this.#done, this.#payload());
  }

  #payload(): { label: string; elapsed: string } {
    const seconds = Math.round((Date.now() - this.#begin) / 1000);
    return { label: this.#label, elapsed: `${Math.floor(seconds / 60)} min ${seconds % 60} s` };
  }
}
