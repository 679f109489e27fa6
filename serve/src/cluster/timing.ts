/** Milliseconds after which things are done, or given up. Silence counts while NATS is there. */
export interface Timing {
  /** From one beat of a worker to the next. */
  readonly beat: number;
  /** From one sign of life of a frontend to the next, to the workers that work for it. */
  readonly alive: number;
  /** From one look of a frontend at all that it waits for to the next. */
  readonly look: number;
  /** Until a worker has said that it took some work. */
  readonly accept: number;
  /** Until pages of a text that are on their way are given up: they are computed then. */
  readonly transfer: number;
  /** Until a silent worker is taken to be dead: its work goes elsewhere. */
  readonly dead: number;
  /** Until a silent frontend is taken to be dead: its work ends. */
  readonly lease: number;
  /** Until work that nobody takes, or that NATS keeps from being done, ends with an error. */
  readonly patience: number;
}

export const defaultTiming: Timing = {
  beat: 500,
  alive: 1000,
  look: 100,
  accept: 3000,
  transfer: 5000,
  dead: 5000,
  lease: 10_000,
  patience: 30_000,
};
