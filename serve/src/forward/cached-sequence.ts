import type { Sequence } from 'flash-attention/serving';
import type { ForwardSequence } from '../engine/contract.js';

/** A sequence of the cache, and which rotary table its keys were turned by. */
export class CachedSequence implements ForwardSequence {
  readonly cached: Sequence;
  readonly longRope: boolean;

  constructor(cached: Sequence, longRope: boolean) {
    this.cached = cached;
    this.longRope = longRope;
  }

  get length(): number {
    return this.cached.length;
  }

  truncate(length: number): void {
    this.cached.truncate(length);
  }

  fork(): CachedSequence {
    return new CachedSequence(this.cached.fork(), this.longRope);
  }

  dispose(): void {
    this.cached.dispose();
  }
}
