// How long SMs wait at the end of a forward call on Hopper, counted: tiles of rows are dealt out in
// the order of csrc/cuda/sm90/forward_work.h, one takes as many units as it visits tiles of keys,
// and one more to begin and end. docs/design/forward-hopper.md has the table.
const multiprocessors = 132;
const shareOfL2 = 0.6 * 50 * 2 ** 20;
const tokens = 16384; // over all sequences, heads * head dim 2048: FlashAttention-3's benchmark

const kernels = [
  { width: 64, rows: 192, keys: 128 },
  { width: 128, rows: 128, keys: 128 },
  { width: 256, rows: 128, keys: 80 },
];

/** Units of each tile of rows, in the order of their numbers. */
function tilesOf({ width, rows, keys }, seqlen, causal) {
  const heads = (2048 / width) * (tokens / seqlen);
  let section = causal ? Math.min(heads, Math.floor(shareOfL2 / (seqlen * width * 4))) : 1;
  while (heads % section !== 0) section--;
  const tiles = [];
  for (let first = 0; first < heads; first += section)
    for (let row = Math.ceil(seqlen / rows) - 1; row >= 0; row--) {
      const visible = causal ? Math.min(seqlen, (row + 1) * rows) : seqlen;
      for (let head = 0; head < section; head++) tiles.push(Math.ceil(visible / keys) + 1);
    }
  return tiles;
}

/** Share of the SMs' time in which they have nothing to do. */
const idle = (busy) => 1 - busy.reduce((a, b) => a + b, 0) / busy.length / Math.max(...busy);

/** Tiles in turns: 0 1 2 | 5 4 3 | ... */
function thereAndBack(tiles) {
  const busy = new Array(multiprocessors).fill(0);
  tiles.forEach((tile, i) => {
    const place = i % multiprocessors;
    const back = Math.floor(i / multiprocessors) % 2 !== 0;
    busy[back ? multiprocessors - 1 - place : place] += tile;
  });
  return busy;
}

/** The next tile goes to whoever is `ahead` units or less from the end of the one it has. */
function drawn(tiles, ahead) {
  const busy = new Array(multiprocessors).fill(0);
  const draws = new Array(multiprocessors).fill(0); // when each asks again
  for (const tile of tiles) {
    const next = draws.indexOf(Math.min(...draws));
    draws[next] = busy[next] + Math.max(0, tile - ahead);
    busy[next] += tile;
  }
  return busy;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
console.log('| head dim | tokens a sequence | | there and back | drawn early | drawn late |');
console.log('|---|---|---|---|---|---|');
for (const kernel of kernels)
  for (const causal of [true, false])
    for (const seqlen of causal ? [512, 1024, 2048, 4096, 8192, 16384] : [16384]) {
      const tiles = tilesOf(kernel, seqlen, causal);
      const orders = [thereAndBack(tiles), drawn(tiles, Infinity), drawn(tiles, 2)];
      const mask = causal ? 'causal' : 'full';
      const shares = orders.map((busy) => percent(idle(busy))).join(' | ');
      console.log(`| ${kernel.width} | ${seqlen} | ${mask} | ${shares} |`);
    }
