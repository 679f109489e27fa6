// The mistakes of the kernel of wide heads: see mutations.mjs.
const kernel = 'cuda/sm80/mla.h';
const products = 'cuda/sm80/mla_products.h';
const softmax = 'cuda/sm80/mla_softmax.h';
const output = 'cuda/sm80/mla_output.h';
const poison = 'cuda/sm80/mla_poison.h';
const copies = 'cuda/sm80/mla_copies.h';

const waitForKeys = 'ptx::cp_async_wait<0>();\n    ptx::sync_block();  // K has arrived';
const beforeValues = '// Weights and factors are there, and V has arrived for all.\n';
const cleared = 'clear_poison<ValueTile, T, kThreads>(v_tile);';

export const mla = [
  ['blocks without work stay', kernel, 'if (without_work(p.splits, p.head_blocks)) return;', ''],
  ['no wait for K', kernel, waitForKeys, 'ptx::sync_block();  // K has arrived'],
  ['no barrier after the wait for K', kernel, 'ptx::sync_block();  // K has', '// K has'],
  ['no barrier between maxima and weights', kernel, 'ptx::sync_block();  // maxima', '// maxima'],
  ['no wait for values of their own', kernel, 'if (!in_keys) ptx::cp_async_wait<1>();', ''],
  [
    'wait for values of their own one group too lax',
    kernel,
    'ptx::cp_async_wait<1>();',
    'ptx::cp_async_wait<2>();',
  ],
  ['no barrier before P V', kernel, `${beforeValues}    ptx::sync_block();`, beforeValues],
  [
    'next keys over those whose scores are not done',
    kernel,
    '      load_values(other, n_block);',
    '    {\n      load_values(other, n_block);\n      load_keys(k_tile, next);\n    }',
  ],
  [
    'next latents over those that are worked on',
    kernel,
    '      load_keys(other, next);',
    '      load_keys(k_tile, next);',
  ],
  [
    'latents whose values are looked for in the other tile',
    kernel,
    'v_tile = in_keys ? k_tile : other;',
    'v_tile = other;',
  ],
  [
    'tiles do not take turns',
    kernel,
    '    if (in_keys) {\n      other',
    '    if (false) {\n      other',
  ],
  [
    'next tile looked up where the one before was',
    kernel,
    'find_keys(next);\n  }',
    'find_keys(n_block);\n  }',
  ],
  [
    'hidden pairs of another group of keys',
    kernel,
    'block.row0 + part.row0, key0 + part.key0,',
    'block.row0 + part.row0, key0,',
  ],
  [
    'hidden pairs of other rows',
    kernel,
    'block.row0 + part.row0, key0 + part.key0,',
    'block.row0, key0 + part.key0,',
  ],
  ['no barrier after poison is cleared', kernel, `${cleared}\n      ptx::sync_block();`, cleared],
  ['poison not cleared', kernel, cleared, ''],
  ['poison not restored', kernel, 'if (!any_poison) return;', 'return;'],
  [
    'poison restored before rows are stored',
    kernel,
    'ptx::sync_block();  // rows have been stored',
    '// rows have been stored',
  ],
  ['poison restored to all rows', poison, 'key >= window.end(i) ||', 'false ||'],
  [
    'poison restored from rows of no key',
    poison,
    'if (key >= window.seqlen_k || window',
    'if (window',
  ],
  ['accumulators not rescaled', kernel, 'WideSoftmax<Traits>::rescale(smem, o);', ''],
  [
    'maxima of one group of keys alone',
    softmax,
    'group < Traits::kGroups; ++group)\n        top',
    'group < 1; ++group)\n        top',
  ],
  ['sum not brought to the new maximum', softmax, 'sum[h] * alpha + total', 'sum[h] + total'],
  [
    'sums of one group of keys alone',
    output,
    'group < Traits::kGroups; ++group)\n        sum',
    'group < 1; ++group)\n        sum',
  ],
  ['sums read before they are told', output, 'ptx::sync_block();  // sums', '// sums'],
  ['factors read before they are told', output, 'ptx::sync_block();  // so', '// so'],
  ['sink joins every split', output, 'block.part.split == 0', 'true'],
  ['lse of rows that are not there', output, 'if (row < block.rows.count)', ''],
  ['output of rows that are not there', output, 'if (row >= block.rows.count) continue;', ''],
  [
    'output of dims that are not there',
    output,
    'if (column0 + 8 * d >= a.head_dim_v) continue;',
    '',
  ],
  ['weights of another group of keys', products, 'part.key0 / 8 + n)', 'n)'],
  [
    'scores of another group of keys',
    products,
    'part.key0 + lane % 8, lane / 8)',
    'lane % 8, lane / 8)',
  ],
  ['scores of other rows', products, 'part.row0 + lane % 16, lane / 16', 'lane % 16, lane / 16'],
  ['one panel too few', products, 'panel < panels', 'panel + 1 < panels'],
  ['keys that are not there are copied', copies, 'row[r], key < keys,', 'row[r], true,'],
  [
    'pages looked up beyond the end',
    copies,
    'keys.row(key < seqlen_k ? key : seqlen_k - 1)',
    'keys.row(key)',
  ],
  [
    'dims that are not there are copied',
    copies,
    'there && (chunk + c) * Tile::kChunkElements < columns',
    'there',
  ],
];
