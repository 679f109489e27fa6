/**
 * Counters of all workers together. They never fall: what a worker counted that is gone, or whose
 * engine was started again, stays a part of the sum. Prometheus would take a fall for a new start,
 * and count the rest again.
 */
export class CounterSum<Name extends string> {
  readonly #names: readonly Name[];
  /** Of every worker that was ever heard. */
  readonly #latest = new Map<string, Readonly<Record<Name, number>>>();
  readonly #total: Record<Name, number>;

  constructor(names: readonly Name[]) {
    this.#names = names;
    this.#total = Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>;
  }

  heard(worker: string, counts: Readonly<Record<Name, number>>): void {
    const before = this.#latest.get(worker);
    this.#latest.set(worker, counts);
    for (const name of this.#names) {
      const old = before?.[name] ?? 0;
      // It began again at 0.
      this.#total[name] += counts[name] < old ? counts[name] : counts[name] - old;
    }
  }

  get total(): Record<Name, number> {
    return { ...this.#total };
  }
}
