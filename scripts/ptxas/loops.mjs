// Counts the instructions and branches of a kernel's code, and of the shortest way round its main
// loop: of all ways round a loop one on which most products and copies lie, of these the shortest.

import { copies, instructions, products } from './machine-code.mjs';

const isOneOf = ({ code }, names) => names.some((name) => instructions[name](code));

/** a before b where more of the work lies on it, then where it is shorter. */
const isBetter = (a, b) =>
  b === undefined || a.work > b.work || (a.work === b.work && a.instructions < b.instructions);

/** Runs of instructions that always run as one, { begin, end, next }, by their first one. */
function basicBlocks(code) {
  const leaders = new Set([0]);
  code.forEach(({ next }, i) => {
    if (next.length === 1 && next[0] === i + 1) return;
    for (const each of next) leaders.add(each);
    leaders.add(i + 1);
  });
  const begins = [...leaders].filter((i) => i < code.length).sort((a, b) => a - b);
  return new Map(
    begins.map((begin, n) => {
      const end = begins[n + 1] ?? code.length;
      return [begin, { begin, end, next: code[end - 1].next }];
    }),
  );
}

/** Blocks in an order in which only edges that close a loop lead back, and those edges. */
function loopsOf(blocks) {
  const state = new Map(); // 'open' while its successors are looked at
  const order = [];
  const closing = [];
  const stack = [{ block: blocks.get(0), at: 0 }];
  state.set(0, 'open');
  while (stack.length > 0) {
    const top = stack.at(-1);
    const next = top.block.next[top.at++];
    if (next === undefined) {
      state.set(top.block.begin, 'done');
      order.push(top.block);
      stack.pop();
    } else if (state.get(next) === 'open') {
      closing.push({ from: top.block, to: blocks.get(next) });
    } else if (!state.has(next)) {
      state.set(next, 'open');
      stack.push({ block: blocks.get(next), at: 0 });
    }
  }
  return { order: order.reverse(), closing };
}

/** What is on the way through a run of instructions. `work`: how many `isWork` says so of. */
function costOf(code, isWork) {
  const own = code.filter(({ nop }) => !nop);
  const count = (test) => own.filter(test).length;
  return {
    instructions: own.length,
    branches: count(({ branches }) => branches),
    products: count((each) => isOneOf(each, products)),
    copies: count((each) => isOneOf(each, copies)),
    work: count(isWork),
  };
}

const add = (a, b) =>
  Object.fromEntries(Object.keys(b).map((key) => [key, (a?.[key] ?? 0) + b[key]]));

/** The best way from the head of a loop to the edge that closes it. */
function wayRound({ order, closing }, { from, to }, costs) {
  const back = new Set(closing.map((edge) => `${edge.from.begin} ${edge.to.begin}`));
  const best = new Map([[to.begin, costs.get(to.begin)]]);
  for (const block of order) {
    const here = best.get(block.begin);
    if (here === undefined) continue;
    for (const next of block.next) {
      if (back.has(`${block.begin} ${next}`) || next === to.begin) continue;
      const there = add(here, costs.get(next));
      if (isBetter(there, best.get(next))) best.set(next, there);
    }
  }
  return best.get(from.begin);
}

/**
 * { instructions, branches } of a kernel's code, as machine-code.mjs decodes it, and of its `loop`:
 * undefined where none has products or copies. Names of instructions: `with`, that the way round is
 * to have as many of as it can, beside products and copies; `without`, that it has none of.
 */
export function countKernel(code, choice = {}) {
  const wanted = [...products, ...copies, ...(choice.with ?? [])];
  const isWork = (each) => isOneOf(each, wanted);
  const all = costOf(code, isWork);
  const blocks = basicBlocks(code);
  const costs = new Map();
  for (const [begin, block] of blocks) {
    const own = code.slice(begin, block.end);
    costs.set(begin, costOf(own, isWork));
    if (own.some((each) => isOneOf(each, choice.without ?? []))) block.next = [];
  }
  const loops = loopsOf(blocks);
  let loop;
  for (const edge of loops.closing) {
    const way = wayRound(loops, edge, costs);
    if (way?.work > 0 && isBetter(way, loop)) loop = way;
  }
  return { instructions: all.instructions, branches: all.branches, loop };
}
