// The mistakes of scripts/mutate.mjs: in `file` (under csrc), which has the passage `from` exactly
// once, it becomes `to`. `kernel` names the program's cases. Every bug found later belongs here,
// too.
import { backwardSm90 } from './mutations_backward_sm90.mjs';
import { backwardSm90Wide } from './mutations_backward_sm90_wide.mjs';
import { launchesSideBySide } from './mutations_branches.mjs';
import { forwardFp8, forwardSm90 } from './mutations_forward_sm90.mjs';
import { mla } from './mutations_mla.mjs';
import { mlaSm90 } from './mutations_mla_sm90.mjs';
import { launchesOverlap } from './mutations_overlap.mjs';

const forward = 'cuda/sm80/forward.h';
const products = 'cuda/sm80/forward_products.h';
const decode = 'cuda/sm80/decode.h';
const decodeCopies = 'cuda/sm80/decode_copies.h';
const decodeScales = 'cuda/sm80/decode_scales.h';
const decodeOutput = 'cuda/sm80/decode_output.h';
const forwardBlock = 'cuda/sm80/forward_block.h';
const forwardOutput = 'cuda/sm80/forward_output.h';
const backward = 'cuda/sm80/backward.h';
const walk = 'cuda/device/backward_walk.h';
const derivative = 'cuda/device/differentiate.h';
const pairOptions = 'cuda/device/pair_options.h';
const combine = 'cuda/elementwise/combine.cu';
const extreme = 'cuda/elementwise/extreme_rows.cu';
const result = 'cuda/device/row_result.h';
const softmax = 'cuda/device/softmax.h';
const naturalRow = 'cuda/device/natural_row.h';
const scores = 'cuda/device/scores.h';
const scoreTile = 'cuda/device/score_tile.h';
const loads = 'cuda/device/load_tile.h';
const keyScales = 'cuda/device/key_scales.h';
const ranges = 'cuda/device/tile_range.h';
const workItem = 'cuda/device/work_item.h';
const workLookup = 'cuda/device/work_lookup.h';
const partialRow = 'cuda/device/partial_row.h';
const tiles = 'cuda/device/shared_tile.h';

/** One kernel's mutations from lines [fault, file, from, to]. */
const of = (kernel, lines) =>
  lines.map(([fault, file, from, to]) => ({ kernel, fault, file, from, to }));

const waitForKeys = 'ptx::cp_async_wait<kInFlight>();\n    ptx::sync_block();  // K has arrived';
const waitForValues = 'ptx::cp_async_wait<kInFlight>();\n    // V has arrived';

const prepareKeys =
  'if constexpr (kCodes) prepare_key_scales<kKeys>(k_scales, options ? 1.f : a.scale);';
const prepareValues =
  'if constexpr (kCodes)\n      level = units.prepare<kKeys>(v_scales, partial, is_first, alpha, rescales, any_poison);';
const waitForWarpKeys = `ptx::cp_async_wait<1>();\n    ${prepareKeys}`;
const waitForWarpValues = `ptx::cp_async_wait<1>();\n    ${prepareValues}`;
/** The same wait, which lets one group more be in flight. */
const lax = (wait) => wait.replace('<1>', '<2>');

export const mutations = [
  ...of('forward', [
    // The decode kernel.
    ['decode: no wait for Q', decode, 'ptx::cp_async_wait<2>();', ''],
    ['decode: no barrier after the wait for Q', decode, 'ptx::sync_block();  // Q', '// Q'],
    ['decode: no wait for K', decode, waitForWarpKeys, prepareKeys],
    ['decode: wait for K one group too lax', decode, waitForWarpKeys, lax(waitForWarpKeys)],
    ['decode: no sync_warp after the wait for K', decode, 'ptx::sync_warp();  // K', '// K'],
    ['decode: no wait for V', decode, waitForWarpValues, prepareValues],
    ['decode: wait for V one group too lax', decode, waitForWarpValues, lax(waitForWarpValues)],
    ['decode: no sync_warp after the wait for V', decode, 'ptx::sync_warp();  // V', '// V'],
    [
      'decode: no sync_warp after poison is cleared',
      decode,
      'clear_poison<KeyTile, T, 32>(v_tile);\n      ptx::sync_warp();',
      'clear_poison<KeyTile, T, 32>(v_tile);',
    ],
    [
      'decode: poison of one warp forgotten',
      decode,
      'any_poison = ptx::sync_block_or(any_poison);',
      'ptx::sync_block();',
    ],
    ['decode: poison not restored', decode, 'if (any_poison) restore', 'if (false) restore'],
    [
      'decode: merged while tiles are in use',
      decode,
      'any_poison = ptx::sync_block_or(any_poison);',
      '',
    ],
    [
      'decode: merged before the other warps have stored',
      decodeOutput,
      'ptx::sync_block();\n  if (warp > 0) return;',
      'if (warp > 0) return;',
    ],
    [
      'decode: the last warp left out',
      decodeOutput,
      'other = 1; other < kDecodeWarps',
      'other = 1; other < kDecodeWarps - 1',
    ],
    [
      'decode: merged by the factor of the other row',
      decodeOutput,
      'x.z * theirs[1]',
      'x.z * theirs[0]',
    ],
    ['decode: sums merged without factor', decodeOutput, 'sum[r] * theirs[r]', 'sum[r]'],
    [
      'decode: a tile of every warp left out',
      decode,
      'from(n_block + kDecodeWarps)',
      'from(n_block + 2 * kDecodeWarps)',
    ],
    [
      'decode: first tile of the window left out',
      decode,
      'window_block - n_block + kDecodeWarps - 1',
      'window_block - n_block + kDecodeWarps',
    ],
    ['decode: tiles before the window visited', decode, 'n_block >= window_block ||', 'true ||'],
    ['decode: V in place of K', decode, 'keys(a.k, a.k_scales', 'keys(a.v, a.k_scales'],
    [
      'decode: a row from the wrong lane',
      decodeCopies,
      'shfl_idx(chunks[r / 32], first + r % 32)',
      'shfl_idx(chunks[r / 32], r % 32)',
    ],
    ['decode: rows loaded beyond the end', decodeCopies, 'row < rows && ', ''],
    [
      'decode: a tile where rows end taken for a whole one',
      decodeCopies,
      'rows >= Tile::kRows && ',
      '',
    ],
    ['decode: half of the rows left out', decode, '(rows.count) > 8', '(rows.count) > 16'],
    [
      'decode: columns loaded beyond the head dim',
      decodeCopies,
      ' && column * Tile::kChunkElements < columns',
      '',
    ],
    [
      'decode: K written with another swizzle than read',
      decodeCopies,
      'first + i * kRowsAtOnce, chunk',
      'first, chunk',
    ],
    ['decode: hidden keys seen', decode, 'else if (partial)', 'else if (false)'],
    ['decode: extreme rows not done again', decode, 'if (extreme != 0)', 'if (false)'],
  ]),
  ...of('forward', [
    // The same over codes.
    [
      'decode 8-bit: no barrier after Q',
      decode,
      'ptx::sync_block();  // Q',
      'if (!kCodes) ptx::sync_block();  // Q',
    ],
    [
      'decode 8-bit: scales of keys that no lane waits for',
      decode,
      `${prepareKeys}\n    ptx::sync_warp();`,
      `ptx::sync_warp();\n    ${prepareKeys}`,
    ],
    [
      'decode 8-bit: scales of values that no lane waits for',
      decode,
      `${prepareValues}\n    ptx::sync_warp();`,
      `ptx::sync_warp();\n    ${prepareValues}`,
    ],
    [
      'decode 8-bit: next scales come too early',
      decode,
      'scale_columns(s, k_scales);\n',
      'keys.load(next, kKeys);\n      scale_columns(s, k_scales);\n',
    ],
    ['decode 8-bit: scales of the first head', decodeScales, ' + kv_head * scales.head', ''],
    [
      'decode 8-bit: scale of the key beside it',
      decodeScales,
      '8 * n + 2 * (this_lane() % 4)',
      '8 * n',
    ],
    ['decode 8-bit: scales of keys left out', decode, 'scale_columns(s, k_scales);', ''],
    [
      'decode 8-bit: keys of a lane are all its first',
      decodeCopies,
      '(32 * i + this_lane())',
      'this_lane()',
    ],
    ['decode 8-bit: factors of rows left out', decode, 'if (!options) scale[h] = factor[h];', ''],
    [
      'decode 8-bit: factors left out beside options',
      decode,
      'if (kCodes && options) multiply_rows',
      'if (false) multiply_rows',
    ],
    ['decode 8-bit: outputs without their unit', decode, 'units.finish(o);', ';'],
    [
      'decode 8-bit: outputs keep the unit before',
      decodeScales,
      'alpha[h] *= unit[h] * factor[h] * kOperand;',
      '',
    ],
    [
      'decode 8-bit: unit of one lane of four',
      decodeScales,
      'power_of_two(quad_max(top[h]))',
      'power_of_two(top[h])',
    ],
    [
      'decode 8-bit: outputs not rescaled with their unit',
      decode,
      'rescales |= units.scale_rows',
      'units.scale_rows',
    ],
    ['decode 8-bit: scales beyond the unit of all', decodeScales, 'usual &= is_usual(scale);', ''],
    ['decode 8-bit: outputs keep the unit of all before', decodeScales, 'alpha[0] *= by;', ''],
    [
      'decode 8-bit: outputs not rescaled with the unit of all',
      decodeScales,
      'rescales = true;',
      '',
    ],
    [
      'decode 8-bit: rows begin without the unit of all',
      decodeScales,
      'if (!first) unit[0]',
      'if (false) unit[0]',
    ],
  ]),
  ...of('forward', [
    // Pages of int8.
    ['int8: scales of keys left out', forward, 'a.k_scales.data != nullptr', 'false'],
    [
      'int8: scales of values left out',
      forward,
      'if (a.v_scales.data != nullptr) units',
      'if (false) units',
    ],
    ['int8: outputs without their unit', forward, 'units.finish(o);', ';'],
    [
      'int8: scale of the key beside it',
      keyScales,
      'this_thread() % 4 * 2 + c;',
      'this_thread() % 4 * 2;',
    ],
    ['int8: scales of the first head', keyScales, 'j), kv_head);', 'j), 0);'],
    ['int8: scales of the next sequence', keyScales, 'p.pages, batch, j', 'p.pages, batch + 1, j'],
    ['int8: scores of every second row without scale', keyScales, 's[m][n][2 + c] *= scale;', ''],
    [
      'int8: outputs keep the unit before',
      keyScales,
      'OnlineSoftmax<kRowTiles>::rescale(o, before);',
      '',
    ],
    ['int8: unit of one lane of four', keyScales, 'top[r] = quad_max(top[r]);', ''],
    [
      'int8: unit of the other row',
      keyScales,
      'weights[r / 2][n][r % 2 * 2 + c] *= scale * inverse[r]',
      'weights[r / 2][n][r % 2 * 2 + c] *= scale * inverse[r ^ 1]',
    ],
    [
      'int8: codes of the first head',
      loads,
      ' + kv_head * tensor.head;\n    const float',
      ';\n    const float',
    ],
    [
      'int8: codes written where other columns lie',
      loads,
      'to + static_cast<uint32_t>(e * static_cast<int>(sizeof(T)))',
      'to + static_cast<uint32_t>((e ^ 1) * static_cast<int>(sizeof(T)))',
    ],
    [
      'int8: rows converted beyond the end',
      loads,
      'if (row >= rows || column0 >= columns) return ptx::sts<uint4>(to, uint4{});',
      '',
    ],
  ]),
  ...of('forward', [
    // Synchronisation.
    ['no wait for K', forward, waitForKeys, 'ptx::sync_block();  // K has arrived'],
    [
      'wait for K one group too lax',
      forward,
      waitForKeys,
      waitForKeys.replace('kInFlight', 'kInFlight + 1'),
    ],
    [
      'no barrier after the wait for K',
      forward,
      'ptx::sync_block();  // K has arrived',
      '// K has arrived',
    ],
    ['no wait for V', forward, waitForValues, '// V has arrived'],
    [
      'wait for V one group too lax',
      forward,
      waitForValues,
      waitForValues.replace('kInFlight', 'kInFlight + 1'),
    ],
    ['no barrier after the wait for V', forward, 'ptx::sync_block_or(partial &&', '(partial &&'],
    [
      'no barrier after poison is cleared',
      forward,
      'clear_poison<KeyTile, T, kThreads>(v_tile);\n      ptx::sync_block();',
      'clear_poison<KeyTile, T, kThreads>(v_tile);',
    ],
    ['copies of a tile not committed', forward, 'ptx::cp_async_commit();', ''],
    [
      'every other tile not committed',
      forward,
      'ptx::cp_async_commit();',
      'if (n_block % 2 == 0) ptx::cp_async_commit();',
    ],
    ['V loaded into the wrong stage', forward, '(stage + kStages - 1) % kStages', 'stage'],
    [
      'K loaded into the wrong stage',
      forward,
      'load_keys(ahead[kStages], stage);',
      'load_keys(ahead[kStages], (stage + 1) % kStages);',
    ],
    [
      'K loaded before all are done with it',
      forward,
      'const bool poisoned =',
      'load_keys(ahead[kStages], stage);\n    const bool poisoned =',
    ],
    [
      'V loaded before all are done with it',
      forward,
      waitForKeys,
      `load_values(ahead[kStages - 1], (stage + kStages - 1) % kStages);\n    ${waitForKeys}`,
    ],
    [
      'no sync_warp between staging and storing the output',
      forwardOutput,
      'ptx::sync_warp();\n  constexpr int kTotal',
      'constexpr int kTotal',
    ],
    [
      'output staged in the rows of another warp',
      forwardOutput,
      'staging + RowTile::offset(warp_row + 8 * r + lane.g, d)',
      'staging + RowTile::offset((warp_row + 16) % RowTile::kRows + 8 * (r % 2) + lane.g, d)',
    ],
    // Layout.
    [
      'K read with another swizzle than written',
      products,
      'KeyTile::step(k, 8 * n, chunk)',
      'KeyTile::step(k, 8 * n, chunk ^ 2)',
    ],
    ['swizzle of 128-byte panels lacks a bit', tiles, 'row & 7', 'row & 3'],
    ['swizzle of 64-byte panels by the wrong bits', tiles, '(row >> 1) & 3', 'row & 3'],
    [
      'V read without transposition',
      products,
      'ptx::ldmatrix_x4_trans(raw, KeyTile::step(rows, 8 * n, d));',
      'ptx::ldmatrix_x4(raw, KeyTile::step(rows, 8 * n, d));',
    ],
    [
      'B fragments exchanged',
      products,
      'multiply_add<T>(s[m][n], a[m], b0);',
      'multiply_add<T>(s[m][n], a[m], b1);',
    ],
    [
      'low half of float32 products left out',
      'cuda/device/fragment.h',
      'ptx::mma_1688_tf32(step, a.high, b.low[0], b.low[1]);',
      '',
    ],
    // Bounds and masks.
    [
      'last key of a row hidden',
      scoreTile,
      'if (j < begin || j >= end)',
      'if (j < begin || j >= end - 1)',
    ],
    ['one key too many', scoreTile, 'if (j < begin || j >= end)', 'if (j < begin || j > end)'],
    [
      'one key too many at the left of the window',
      scoreTile,
      'if (j < begin || j >= end)',
      'if (j < begin - 1 || j >= end)',
    ],
    [
      'with options, one key too many',
      scores,
      'return j < end && (j >= begin || j < window.sink_tokens);',
      'return j <= end && (j >= begin || j < window.sink_tokens);',
    ],
    [
      'one sink token too many',
      scoreTile,
      'before(window.sink_tokens))',
      'before(window.sink_tokens + 1))',
    ],
    ['mask left out in partial tiles', forward, 'if (kFeatured || partial)', 'if (kFeatured)'],
    [
      'a tile too few',
      ranges,
      'first < last ? (last + kKeys - 1) / kKeys : 0',
      'first < last ? last / kKeys : 0',
    ],
    [
      'a tile too many, all hidden',
      ranges,
      'first < last ? (last + kKeys - 1) / kKeys : 0',
      'first < last ? (last + kKeys - 1) / kKeys + 1 : 0',
    ],
    [
      'first tile of the window left out',
      ranges,
      'first < last ? first / kKeys : 0',
      'first < last ? (first + kKeys - 1) / kKeys : 0',
    ],
    ['tiles before the window visited', ranges, 'first < last ? first / kKeys : 0', '0'],
    [
      'warps stop a key too early',
      forward,
      'const bool working = key0 < warp_end',
      'const bool working = key0 + 16 < warp_end',
    ],
    [
      'block mask: partial cells taken for full',
      scores,
      'if (cell < 2 || cell - 2 >= b.bitmaps) return cell == 1;',
      'if (cell < 2 || cell - 2 >= b.bitmaps) return cell == 1; else return true;',
    ],
    [
      'rows of a tile loaded beyond the end',
      loads,
      'return row < rows && chunk * Tile::kChunkElements < columns;',
      'return chunk * Tile::kChunkElements < columns;',
    ],
    [
      'columns loaded beyond the head dim',
      loads,
      'return row < rows && chunk * Tile::kChunkElements < columns;',
      'return row < rows;',
    ],
    [
      'output stored beyond the rows',
      forwardOutput,
      'if (row0 + line >= block.rows.count || column',
      'if (column',
    ],
    [
      'output stored beyond the head dim',
      forwardOutput,
      '|| column >= p.attention.head_dim_v) continue;',
      ') continue;',
    ],
    [
      'lse stored beyond the rows',
      forwardOutput,
      'lane.t == r && row < block.rows.count',
      'lane.t == r',
    ],
    ['factor of the first row of a quad', forwardOutput, '4 * lane.g + of', '4 * lane.g'],
    ['maximum of the first row of a quad', forwardOutput, 'maximum = softmax.maximum[other];', ''],
    [
      'float32 output stored beyond the rows',
      forwardOutput,
      'if (row >= block.rows.count) continue;',
      '',
    ],
    ['page of another sequence', loads, 'sequence * pages.batch_stride', '0 * pages.batch_stride'],
    [
      'row within the page wrong',
      loads,
      'j - slot * static_cast<int>(pages.page_size.divisor)',
      'j - slot',
    ],
    [
      'keys of the query head in a group',
      forwardBlock,
      'kv_head = a.group.quotient(head0);',
      'kv_head = head0;',
    ],
    // Arithmetic.
    [
      'scores not zeroed before the product',
      products,
      'for (int c = 0; c < 4; ++c) s[m][n][c] = 0;',
      '',
    ],
    ['output not rescaled', softmax, 'o[m][d][c] *= alpha[2 * m + c / 2];', ';'],
    ['output rescaled by the other row', softmax, 'alpha[2 * m + c / 2]', 'alpha[2 * m + c % 2]'],
    [
      'sum not rescaled',
      softmax,
      'sum[r] = sum[r] * alpha[r] + total;',
      'sum[r] = sum[r] + total;',
    ],
    [
      'maximum of a row lacks a lane pair',
      softmax,
      'return fmaxf(x, ptx::shfl_xor(x, 2));',
      'return x;',
    ],
    ['sum of a row lacks a lane pair', softmax, 'return x + ptx::shfl_xor(x, 2);', 'return x;'],
    [
      'rows that see nothing not guarded',
      softmax,
      'kFeatured ? -kLargestFinite : -kBase2Limit',
      '-kInfinity',
    ],
    ['empty rows divided by their sum', result, 'if (sum == 0) return {-kInfinity, 0, 0};', ''],
    [
      'lse of base 2',
      result,
      'ptx::log2_approx(sum), kLn2, top',
      'ptx::log2_approx(sum), 1.f, top',
    ],
    [
      'sink counted by every split',
      forwardOutput,
      'maximum, sum, block.part.split == 0)',
      'maximum, sum, true)',
    ],
    ['output not scaled for dropout', result, 'factor *= p.dropout.keep_scale', 'factor *= 1'],
    [
      'dropout of the neighbouring key tile',
      'cuda/device/dropout.h',
      'kept_pairs(p.dropout, query, stream, key0 + 8 * n)',
      'kept_pairs(p.dropout, query, stream, key0 + 8 * (n ^ 1))',
    ],
    [
      'ALiBi with the wrong sign',
      scoreTile,
      'score -= row.slope * fabsf(ahead',
      'score += row.slope * fabsf(ahead',
    ],
    ['softcap left out', scoreTile, 'if (p.softcap > 0) for_each', 'if (false) for_each'],
    ['poison not cleared', forward, 'if (poisoned) {', 'if (false) {'],
    ['poison not restored', forward, 'if (any_poison) restore_poison', 'if (false) restore_poison'],
    // Splits.
    ['splits overlap by a tile', 'core/tile_range.h', 'first(index + 1)}', 'first(index + 1) + 1}'],
    ['partial results of the wrong split', workItem, 'row0(index * p.stride)', 'row0(0)'],
    ['partial results of the wrong item', workItem, 'row0(item.partial)', 'row0(0)'],
    [
      'splits that a tile does not need left as they are',
      partialRow,
      'split < work.part.splits; ++split',
      'split < work.part.parts; ++split',
    ],
    ['items of the first head alone', workLookup, '= head_blocks.remainder(index)', '= 0'],
    [
      'decode: blocks without work stay',
      decode,
      'if (without_work(p.splits, p.head_blocks)) return;',
      '',
    ],
    [
      'blocks without work stay',
      forward,
      'if (kFeatured && without_work(p.splits, p.head_blocks)) return;',
      '',
    ],
    ['merge of items without work', combine, 'if (item.query < 0) return;', ''],
    ['merge ignores the sums of splits', combine, 'kLog2E) * sum_of_split;', 'kLog2E);'],
    ['maxima left in base 2', result, 'if constexpr (!kFeatured) {', 'if constexpr (false) {'],
    // Scores beyond base 2.
    ['extreme rows not done again', forward, 'if (extreme != 0) attend', 'if (false) attend'],
    ['other rows done again', naturalRow, 'line % 8 * 4 + line / 8', 'line'],
    ['weights of low scores infinite', softmax, 'Finite : -kBase2Limit', 'Finite : -0x1p126f'],
    [
      'extreme rows over the keys of all splits',
      forwardOutput,
      'clamp(window.end(i), first, last), a.head_dim_v',
      'window.end(i), a.head_dim_v',
    ],
    ['extreme rows not divided by their sum', naturalRow, 'out[c] *= factor;', ''],
    [
      'merge ignores the last split',
      combine,
      'for (int split = 0; split < splits; ++split, from += stride)',
      'for (int split = 0; split < splits - 1; ++split, from += stride)',
    ],
    [
      'merge takes the maximum of half a warp',
      combine,
      'for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf',
      'for (int step = 1; step > 0; step /= 2) x = fmaxf',
    ],
    ['merge reads weights too early', combine, 'ptx::sync_warp();', ''],
    [
      'merge does not divide by the sum',
      combine,
      'weight == sum && sum != 0 ? 1.f : weight * inverse',
      'weight',
    ],
  ]),
  ...of('backward', [
    // Synchronisation.
    [
      'no wait for the tiles',
      backward,
      'ptx::cp_async_wait<0>();\n    ptx::sync_block();',
      'ptx::sync_block();',
    ],
    [
      'no barrier after the wait for the tiles',
      backward,
      'ptx::cp_async_wait<0>();\n    ptx::sync_block();',
      'ptx::cp_async_wait<0>();',
    ],
    [
      'no barrier after P and dS are stored',
      backward,
      'ptx::sync_block();\n    constexpr int kGradientColumns',
      'constexpr int kGradientColumns',
    ],
    [
      'no barrier before dO is overwritten',
      backward,
      '}\n      ptx::sync_block();\n      if constexpr (!Traits::kTwoBuffers)',
      '}\n      if constexpr (!Traits::kTwoBuffers)',
    ],
    [
      'no barrier after dS takes the place of P',
      backward,
      'store_scores<Traits>(ds_tile, part, dp);\n        ptx::sync_block();',
      'store_scores<Traits>(ds_tile, part, dp);',
    ],
    [
      'no barrier before the only stage is overwritten',
      backward,
      'if constexpr (kStages == 1) {\n      ptx::sync_block();',
      'if constexpr (kStages == 1) {',
    ],
    [
      'copies not committed',
      backward,
      'if (more) load.inner_y(following);\n    ptx::cp_async_commit();',
      'if (more) load.inner_y(following);',
    ],
    [
      'Q loaded into the stage in use',
      backward,
      'load.inner_x(following, (stage + 1) % kStages)',
      'load.inner_x(following, stage)',
    ],
    [
      'row states of the wrong stage',
      backward,
      'kKeys ? stage * Traits::kInner * kRowStateBytes : 0',
      '0',
    ],
    [
      'dO of the current tile loaded again',
      backward,
      'if (more) load.inner_y(following);',
      'if (more) load.inner_y(current);',
    ],
    // Layout.
    [
      'P stored a row tile off',
      backward,
      'ptx::sts<uint32_t>(Tile::step(base, 16 * m + 8 * h, n)',
      'ptx::sts<uint32_t>(Tile::step(base, 16 * m + 8 * (1 - h), n)',
    ],
    ['swizzle of 128-byte panels lacks a bit', tiles, 'row & 7', 'row & 3'],
    [
      'two steps of one column of accumulators read as one',
      'cuda/sm80/backward_products.h',
      'TileB::offset(row_b + lane % 8, lane / 8)',
      'TileB::offset(row_b + lane % 8, lane / 8 % 2)',
    ],
    [
      'dO read without transposition',
      'cuda/sm80/backward_products.h',
      'ptx::ldmatrix_x4_trans(raw, Tile::step(base, row, column / 8));',
      'ptx::ldmatrix_x4(raw, Tile::step(base, row, column / 8));',
    ],
    [
      'dS read without transposition',
      'cuda/sm80/backward_products.h',
      'ptx::ldmatrix_x4_trans(raw, TileA::step(base, k, 2 * m));',
      'ptx::ldmatrix_x4(raw, TileA::step(base, k, 2 * m));',
    ],
    // Bounds and masks.
    [
      'one key too many',
      derivative,
      'visible = j >= begin && j < end;',
      'visible = j >= begin && j <= end;',
    ],
    [
      'last key of a row hidden',
      derivative,
      'visible = j >= begin && j < end;',
      'visible = j >= begin && j < end - 1;',
    ],
    [
      'mask left out in partial tiles',
      backward,
      'if (!Traits::kFeatured && current.kind == TileKind::kPartial)',
      'if (false)',
    ],
    [
      'rows beyond the queries taken for real',
      pairOptions,
      'i < block.sequence.seqlen_q ? window.end(i) : 0',
      'window.end(i)',
    ],
    [
      'with options, sink tokens hidden',
      pairOptions,
      '(j < begin && j >= window.sink_tokens)',
      'j < begin',
    ],
    [
      'with options, no key before the window hidden',
      pairOptions,
      'j >= end || (j < begin && j >= window.sink_tokens)',
      'j >= end',
    ],
    [
      'full tiles of a mask taken for full',
      pairOptions,
      'if (at.kind != TileKind::kPartial) return;',
      'return;',
    ],
    [
      'bits of a block mask of the neighbouring key',
      pairOptions,
      'if ((shown >> Pairs::bit(q, k) & 1u) == 0)',
      'if ((shown >> Pairs::bit(q, k ^ 1) & 1u) == 0)',
    ],
    [
      'mask read beyond the last query',
      pairOptions,
      '(i < last_query ? i : last_query) * mask.row',
      'i * mask.row',
    ],
    [
      'mask read beyond the last key',
      pairOptions,
      '(j < last_key ? j : last_key) * mask.key',
      'j * mask.key',
    ],
    [
      'mask of the first rows alone',
      pairOptions,
      'first < LanePairs<Traits>::kQueries; first += kCount',
      'first < kCount; first += kCount',
    ],
    ['mask of the first head', pairOptions, '+ at.head * a.mask.head;', ';'],
    ['bool mask left out', pairOptions, 'if (element == 0) x = -kInfinity;', ''],
    [
      'ALiBi of the neighbouring query',
      pairOptions,
      'static_cast<float>(distance + Pairs::query(q))',
      'static_cast<float>(distance + Pairs::query(q ^ 1))',
    ],
    ['only the first head of a section', walk, '+ p.section.remainder(index);', ';'],
    [
      'a tile of queries too few',
      ranges,
      'first < last ? (last + kQueries - 1) / kQueries : 0',
      'first < last ? last / kQueries : 0',
    ],
    [
      'first tile of queries left out',
      ranges,
      'first < last ? first / kQueries : 0',
      'first < last ? (first + kQueries - 1) / kQueries : 0',
    ],
    [
      'rows of a tile loaded beyond the end',
      loads,
      'return row < rows && chunk * Tile::kChunkElements < columns;',
      'return chunk * Tile::kChunkElements < columns;',
    ],
    [
      'row states loaded beyond the end',
      backward,
      'inside ? from + i : nullptr,\n                     inside);',
      'from + i, true);',
    ],
    ['gradients stored beyond the rows', backward, 'if (row >= count) continue;', ''],
    ['dQ added beyond the rows', backward, 'if (i >= s.seqlen_q) continue;', ''],
    [
      'gradients stored beyond the head dim',
      backward,
      'if (column + 1 < columns && columns % 2 == 0)',
      'if (true)',
    ],
    [
      'only one head of a group counted',
      walk,
      'head_end = head_begin + group;',
      'head_end = head_begin + 1;',
    ],
    // Arithmetic.
    [
      'poison of dO not cleared',
      backward,
      'if (hides && poisoned<T, InnerTile, kGradientColumns>(y, part.gradient_column))',
      'if (false)',
    ],
    [
      'poison of dO not restored',
      backward,
      'add_poison<T, ScoreTile, InnerTile>(dy, p_tile, part.row, y, part.gradient_column);',
      '',
    ],
    ['delta left out', derivative, 'Pairs::at(dp, q, k) -= delta;', '(void)delta;'],
    ['delta of the neighbouring query', derivative, 'state_of(q).delta', 'state_of(q ^ 1).delta'],
    ['lse of the neighbouring query', derivative, 'state_of(q).lse', 'state_of(q ^ 1).lse'],
    [
      'delta lacks a lane pair',
      'cuda/elementwise/delta.cu',
      'for (int step = kLanesPerRow / 2; step > 0; step /= 2) delta',
      'for (int step = kLanesPerRow / 4; step > 0; step /= 2) delta',
    ],
    ['lse not brought to base 2', 'cuda/elementwise/delta.cu', 'lse * kLog2E', 'lse'],
    ['slope of softcap left out', pairOptions, 'Pairs::at(change, q, k) *= capped.slope;', ''],
    ['dropout left out of dP', derivative, 'if (drops) drop_out<Traits>(a, kept, dp);', ''],
    ['dropout left out of P', derivative, 'if (drops) drop_out<Traits>(a, kept, s);', ''],
    [
      'dropout of the neighbouring pair',
      pairOptions,
      'kept >> Pairs::bit(q, k) & 1u',
      'kept >> Pairs::bit(q, k ^ 1) & 1u',
    ],
    [
      'dK not scaled',
      backward,
      'a.head_dim, part, a.scale, dx);\n    store_gradient<Traits>(p.dv',
      'a.head_dim, part, 1.f, dx);\n    store_gradient<Traits>(p.dv',
    ],
    [
      'dQ not scaled',
      backward,
      '{scale * dq[m][n][2 * h], scale * dq[m][n][2 * h + 1]}',
      '{dq[m][n][2 * h], dq[m][n][2 * h + 1]}',
    ],
    ['accumulators of scores not cleared', backward, 'clear(s);', ''],
    ['accumulators of dP not cleared', backward, 'clear(dp);', ''],
    [
      'no barrier within the sum of sink gradients',
      'cuda/elementwise/delta.cu',
      'ptx::sync_block();\n    if (thread < half)',
      'if (thread < half)',
    ],
    [
      'sink gradient with the wrong sign',
      'cuda/elementwise/delta.cu',
      'sum -= ptx::exp2_approx(sink * kLog2E',
      'sum += ptx::exp2_approx(sink * kLog2E',
    ],
    // Extreme rows.
    [
      'a tile loaded while warps are at the one before',
      extreme,
      'ptx::sync_block();  // all are done with the tile before',
      '// all are done with the tile before',
    ],
    [
      'a tile used before it is loaded',
      extreme,
      '      ptx::sync_block();\n      Pair pair',
      '      Pair pair',
    ],
    [
      'extreme rows differentiated twice',
      'cuda/elementwise/delta.cu',
      'extreme || lse == -kInfinity ?',
      'lse == -kInfinity ?',
    ],
    [
      'extreme rows not found',
      'cuda/elementwise/delta.cu',
      'if (extreme) ptx::atomic_or(p.extreme.found, 1);',
      '',
    ],
    [
      'sink gradient lacks the extreme rows',
      'cuda/elementwise/delta.cu',
      'row.rcp_sum * row.delta',
      '0.f',
    ],
    [
      'the sink left out of the sum of an extreme row',
      extreme,
      'if (sink != -kInfinity) add(sink, 0);',
      '',
    ],
    [
      'sums of an extreme row keep an earlier maximum',
      extreme,
      'rescale(fmaxf(maximum, score));',
      'maximum = fmaxf(maximum, score);',
    ],
    [
      'dropout left out of dP of an extreme row',
      extreme,
      'pair.dweight = pair.kept * dot',
      'pair.dweight = dot',
    ],
    [
      'dropout left out of P of an extreme row',
      extreme,
      '{weight * pair.kept, weight',
      '{weight, weight',
    ],
    [
      'gradients of extreme rows replace those of others',
      extreme,
      'kAdd ? load_float(data, dtype, row + c) : 0.f',
      '0.f',
    ],
  ]),
  ...of('mla', mla),
  ...of('mla_sm90', mlaSm90),
  ...of('overlap', launchesOverlap),
  ...of('branches', launchesSideBySide),
  ...of('forward_sm90', forwardSm90),
  ...of('forward_fp8', forwardFp8),
  ...of('backward_sm90', backwardSm90),
  ...of('backward_sm90_wide', backwardSm90Wide),
];
