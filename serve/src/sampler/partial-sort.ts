/**
 * The k-th largest of the values, NaN left out; -Infinity when there are fewer. A heap of k values
 * meets each of the others with one comparison, which is far less than sorting a vocabulary.
 */
export function kthLargest(values: Float32Array, k: number): number {
  const heap = new Float32Array(k).fill(-Infinity); // the least on top
  for (let i = 0; i < values.length; i++) {
    if (values[i] > heap[0]) replaceTop(heap, values[i]);
  }
  return heap[0];
}

function replaceTop(heap: Float32Array, value: number): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= value) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = value;
}

/** Ids of the k largest values, the largest first, of equal ones the lowest id first. */
export function largest(values: Float32Array, k: number): number[] {
  const least = kthLargest(values, k);
  const ids: number[] = [];
  for (let id = 0; id < values.length; id++) if (values[id] >= least) ids.push(id);
  ids.sort((a, b) => values[b] - values[a] || a - b);
  ids.length = Math.min(ids.length, k);
  return ids;
}
