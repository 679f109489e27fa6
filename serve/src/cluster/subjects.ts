/** The subjects of NATS on which the processes of one cluster find each other. */
export class Subjects {
  readonly #root: string;

  /** @param cluster letters, digits, `-` and `_`. */
  constructor(readonly cluster: string) {
    this.#root = `flash-attention.${cluster}`;
  }

  /** Every worker tells all frontends here that it lives, how loaded it is, and what it stores. */
  get beats(): string {
    return `${this.#root}.beat`;
  }

  /** What one worker is told. */
  worker(id: string, what: keyof typeof toWorker): string {
    return `${this.#root}.worker.${id}.${what}`;
  }

  /** What one frontend is told of its work. */
  frontend(id: string): string {
    return `${this.#root}.frontend.${id}`;
  }

  /** Where NATS itself tells a frontend that nobody hears a worker any more. */
  nobody(frontend: string, worker: string): string {
    return `${this.frontend(frontend)}.nobody.${worker}`;
  }
}

const toWorker = {
  /** Asks what it is. */
  hello: true,
  /** Asks for all that it stores. */
  prefixes: true,
  /** Work, with an id. */
  run: true,
  /** Ends work. */
  cancel: true,
  /** The frontend lives, and wants to know what of its work is there. */
  alive: true,
} as const;
