import type { Beat, Hello } from '../messages.js';
import type { Work } from './work.js';

/** Milliseconds for which pages count as stored that a prompt under way will store. */
const expected = 10_000;

/** A worker as a frontend knows it. */
export class WorkerView {
  readonly hello: Hello;
  beat: Beat;
  /** When it was heard last, by the clock of the connection. */
  heard: number;
  /** Work of this frontend that was sent there. */
  readonly work = new Set<Work>();
  /** Of its stored prefixes; undefined: not known yet. */
  version: number | undefined;
  /** Work that the latest beat can't know of. */
  #sentSince = 0;
  #stored = new Set<number>();
  /** Until when they count. */
  readonly #expected = new Map<number, number>();

  constructor(hello: Hello, beat: Beat, heard: number) {
    this.hello = hello;
    this.beat = beat;
    this.heard = heard;
  }

  get id(): string {
    return this.hello.worker;
  }

  get takesWork(): boolean {
    return this.beat.healthy && !this.beat.draining;
  }

  /** Work under way there, of all frontends, as far as it can be known. */
  get live(): number {
    return Math.max(this.beat.live + this.#sentSince, this.work.size);
  }

  get isFull(): boolean {
    return this.live >= this.hello.places;
  }

  /** @returns false: what it stores has to be asked for. */
  heardBeat(beat: Beat, now: number): boolean {
    this.beat = beat;
    this.heard = now;
    this.#sentSince = 0;
    const { from, to, added, removed } = beat.prefixes;
    if (to === this.version) return true;
    if (from !== this.version) return false;
    this.version = to;
    for (const hash of removed) this.#stored.delete(hash);
    for (const hash of added) {
      this.#stored.add(hash);
      this.#expected.delete(hash);
    }
    return true;
  }

  heardSnapshot(version: number, hashes: Iterable<number>): void {
    this.version = version;
    this.#stored = new Set(hashes);
  }

  /** Work is sent there whose prompt has these pages. */
  sent(work: Work, pages: readonly number[], now: number): void {
    this.#sentSince++;
    this.work.add(work);
    for (const hash of pages) {
      if (this.#stored.has(hash)) continue;
      this.#expected.delete(hash); // the latest are the last
      this.#expected.set(hash, now + expected);
    }
    for (const [hash, end] of this.#expected) {
      if (end > now) break;
      this.#expected.delete(hash);
    }
  }

  /** Hashes of all pages that a prompt may find there. */
  get storedPages(): number {
    return this.#stored.size;
  }

  /** How many of a prompt's first pages are there. */
  matching(pages: readonly number[], now: number): number {
    let length = 0;
    while (length < pages.length && this.#has(pages[length], now)) length++;
    return length;
  }

  #has(hash: number, now: number): boolean {
    return this.#stored.has(hash) || (this.#expected.get(hash) ?? 0) > now;
  }
}
