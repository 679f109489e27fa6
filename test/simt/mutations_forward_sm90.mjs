// Mistakes in the forward kernels of sm_90a: see mutations.mjs.
const forward = 'cuda/sm90/forward.h';
const producer = 'cuda/sm90/forward_producer.h';
const loader = 'cuda/sm90/forward_loader.h';
const output = 'cuda/sm90/forward_output.h';
const traits = 'cuda/sm90/forward_traits.h';
const work = 'cuda/sm90/forward_work.h';
const workLookup = 'cuda/device/work_lookup.h';
const workItem = 'cuda/device/work_item.h';
const ring = 'cuda/sm90/ring.h';
const turns = 'cuda/sm90/turns.h';
const panels = 'cuda/sm90/panels.h';

const nextScores =
  'ptx::wgmma_fence(s);\n        multiply_queries_keys<Traits>(s, queries, shared.keys.tile(at));';
const overlapped = 'scales = tile_scales(work, walk);\n        ptx::wgmma_wait<1>(s);';
const settled =
  'ptx::wgmma_wait<0>(o, weights);\n        arrive_warp(shared.operands().free(values));';
const lastValues = 'ptx::wgmma_wait<0>(o);\n      arrive_warp(shared.operands().free(values));';
const firstKeys = 'ptx::wgmma_wait<0>(s);\n      arrive_warp(shared.keys.free(at));';
const staging = 'if (thread == 0) ptx::bulk_wait_read<0>();\n    sync_warpgroup(of);\n';
const storing = 'ptx::fence_proxy_async();\n  sync_warpgroup(of);\n';

/** [fault, file, from, to]. */
export const forwardSm90 = [
  // Barriers come to be.
  ['no barrier after the mbarriers are made', forward, 'ptx::sync_block();', ''],
  ['mbarriers made without their fence', traits, 'ptx::fence_mbar_init();', ''],
  ['a consumer warp too few frees K', traits, 'keys.init(kWarps);', 'keys.init(kWarps - 1);'],
  ['a consumer warp too many frees K', traits, 'keys.init(kWarps);', 'keys.init(kWarps + 1);'],
  ['checkers do not free V', traits, 'kWarps + Traits::kCheckers', 'kWarps'],
  [
    'one checker vouches for all',
    traits,
    'ptx::mbar_init(checked({stage, 0}), Traits::kCheckers);',
    'ptx::mbar_init(checked({stage, 0}), 1);',
  ],
  [
    'one warp vouches for the queries',
    traits,
    'kWarpgroupWarps + (consumer == 0',
    '1 + (consumer == 0',
  ],
  // The ring.
  ['producer does not wait for a free stage', ring, 'ptx::mbar_wait(free(at), at.parity ^ 1);', ''],
  ['producer waits for the wrong round', ring, 'at.parity ^ 1', 'at.parity'],
  ['consumers do not wait for a tile', ring, 'ptx::mbar_wait(full(at), at.parity);', ''],
  [
    'consumers wait for the wrong round',
    ring,
    '(full(at), at.parity)',
    '(full(at), at.parity ^ 1)',
  ],
  ['rounds not counted', ring, 'parity ^= 1;', ''],
  ['too few bytes announced', ring, 'full(at), kTileBytes)', 'full(at), kTileBytes - 128)'],
  ['too many bytes announced', ring, 'full(at), kTileBytes)', 'full(at), kTileBytes + 128)'],
  [
    'every lane arrives for its warp',
    ring,
    'if (threadIdx.x % 32 == 0) ptx::mbar_arrive(barrier);',
    'ptx::mbar_arrive(barrier);',
  ],
  [
    'a warp arrives before all its lanes',
    ring,
    '  ptx::sync_warp();\n  if (threadIdx',
    '  if (threadIdx',
  ],
  // Queries.
  [
    'queries loaded over those in use',
    loader,
    'ptx::mbar_wait(shared.queries_free(consumer), parity ^ 1);',
    '',
  ],
  ['no wait for queries', forward, 'ptx::mbar_wait(shared.queries_full(consumer), parity);', ''],
  ['rounds of queries not counted', forward, '    parity ^= 1;\n', ''],
  [
    'queries freed before the last product with them',
    forward,
    'round_weights<Traits>(weights, s);\n\n',
    'round_weights<Traits>(weights, s);\n if constexpr (Traits::kStagesApart) arrive_warp(shared.queries_free(consumer));\n',
  ],
  [
    'queries freed under their output',
    forward,
    'if (threadIdx.x % kWarpgroupThreads == 0) ptx::bulk_wait_read<0>();\n      arrive_warp',
    'arrive_warp',
  ],
  [
    'queries of the other warpgroup',
    forward,
    'shared.queries_of(consumer)',
    'shared.queries_of(0)',
  ],
  [
    'queries loaded a row late',
    loader,
    'work.row0 + kWarpgroupRows * consumer)',
    'work.row0 + kWarpgroupRows * consumer + 1)',
  ],
  ['queries loaded for rows that see nothing', loader, 'if (see_nothing)', 'if (false)'],
  // Keys and values.
  ['K freed before its product', forward, firstKeys, firstKeys.split('\n').reverse().join('\n')],
  [
    'K freed before the overlapped product',
    forward,
    overlapped,
    `arrive_warp(shared.keys.free(at));\n ${overlapped.replace('wait<1>(s);', 'wait<1>(s); if (false)')}`,
  ],
  ['V freed before its product', forward, settled, settled.split('\n').reverse().join('\n')],
  ['last V not freed', forward, lastValues, 'ptx::wgmma_wait<0>(o);'],
  ['no wait for scores', forward, overlapped, 'scales = tile_scales(work, walk);'],
  ['wait for scores a batch too lax', forward, overlapped, overlapped.replace('<1>', '<2>')],
  ['no wait for the output', forward, settled, settled.split('\n')[1]],
  ['no wait for the last output', forward, lastValues, lastValues.split('\n')[1]],
  [
    'weights rounded while the tensor core reads them',
    forward,
    settled,
    `round_weights<Traits>(weights, s);\n ${settled}`,
  ],
  [
    'output rescaled while the tensor core adds to it',
    forward,
    settled,
    `if (moved) Softmax::rescale(o, alpha);\n ${settled}`,
  ],
  ['no wgmma_fence before scores', forward, nextScores, nextScores.split('\n')[1]],
  ['no commit after scores', forward, 'ptx::wgmma_commit();\n        poisoned |=', 'poisoned |='],
  ['V not waited for', forward, 'shared.operands().wait(values);', ''],
  [
    'skipped tiles not freed',
    forward,
    'arrive_warp(shared.operands().free(at));\n      advance',
    'advance',
  ],
  [
    'V of the tile ahead',
    forward,
    'multiply_weights_values<Traits>(o, weights, shared.operands().tile(values));\n        ptx',
    'multiply_weights_values<Traits>(o, weights, shared.operands().tile(at));\n        ptx',
  ],
  [
    'keys of the query head',
    loader,
    'p.attention.group.quotient(work.rows.head0)',
    'work.rows.head0',
  ],
  ['V loaded from the next key on', loader, 'at.previous(), key0);', 'at.previous(), key0 + 1);'],
  // Turns at the tensor core.
  [
    'a turn too many is prepared',
    turns,
    'if (consumer == Traits::kConsumers - 1) ptx::bar_arrive',
    'ptx::bar_arrive',
  ],
  [
    'the last turn is left pending',
    forward,
    'if (this_thread() < kWarpgroupThreads) consumer.turns.finish();',
    '',
  ],
  ['no turn taken for a skipped tile', forward, 'turns.begin();\n      turns.end();', ''],
  ['turns not passed on', forward, 'turns.end();\n        scales', 'scales'],
  // Layout.
  ['swizzle lacks a bit', panels, '(row & 7)', '(row & 3)'],
  ['stride of K rows', panels, 'desc_sw128(tile, 0, kSwizzleBytes)', 'desc_sw128(tile, 0, 512)'],
  ['step within a panel', panels, 'step % kSteps * kStepBytes', 'step % kSteps * 64'],
  ['step to the next panel', panels, 'step / kSteps * kPanelBytes', 'step / kSteps * kStepBytes'],
  [
    'leading offset of V',
    panels,
    'desc_sw128(tile, kPanelBytes, kSwizzleBytes)',
    'desc_sw128(tile, kSwizzleBytes, kSwizzleBytes)',
  ],
  ['step of V', panels, 'step * 16 * kPanelRowBytes', 'step * 8 * kPanelRowBytes'],
  ['V not transposed', forward, 'ptx::wgmma_rs<T, 1>', 'ptx::wgmma_rs<T, 0>'],
  ['scores not begun anew', forward, 'step != 0);', 'true);'],
  [
    'rows of a weight fragment exchanged',
    forward,
    'const int half = 2 * (q % 2);',
    'const int half = q / 2 * 2;',
  ],
  // Values that are not finite.
  [
    'no wait for the check of values',
    forward,
    'ptx::mbar_wait(shared.checked(values), values.parity);',
    ';',
  ],
  ['values not checked', producer, 'else if (hides_pairs)\n', 'else if (false)\n'],
  [
    'values not cleared',
    producer,
    'ptx::sts<uint4>(tile + 16 * chunk, finite_part<T>(words));',
    '',
  ],
  ['clearing hidden from the tensor core', producer, 'ptx::fence_proxy_async();', ';'],
  ['poison not restored', output, 'if (poisoned) {', 'if (false) {'],
  [
    'poison restored before the output is staged',
    output,
    'if (poisoned) {\n    sync_warpgroup(of);',
    'if (poisoned) {',
  ],
  // Scores beyond base 2.
  ['extreme rows not done again', output, 'if (extreme != 0) {', 'if (false) {'],
  [
    'extreme rows done again before the others are staged',
    output,
    'ptx::sync_warp();  // after all that the lanes have stored',
    '',
  ],
  // Output.
  ['output staged over one that is being stored', output, staging, 'sync_warpgroup(of);\n'],
  ['output staged over queries in use', output, staging, staging.split('\n')[0]],
  ['staged output hidden from TMA', output, storing, 'sync_warpgroup(of);\n'],
  ['output stored before it is staged', output, storing, 'ptx::fence_proxy_async();\n'],
  ['kernel ends under its stores', forward, 'ptx::bulk_wait<0>();', ';'],
  ['stores not committed', output, 'ptx::bulk_commit();', ''],
  [
    'output staged without swizzle',
    output,
    'OutputTile::offset(line0 + lane % 16, d + lane / 16)',
    '(line0 + lane % 16) * 128 + (d + lane / 16) * 16',
  ],
  [
    'output staged in the rows of another warp',
    output,
    'warp_row = thread / 32 * 16',
    'warp_row = 48 - thread / 32 * 16',
  ],
  [
    'TMA stores over the next sequence',
    output,
    'if (a.cu_seqlens_q.data == nullptr || row0 + kWarpgroupRows <= work.rows.count) {',
    'if (true) {',
  ],
  ['rows stored beyond the sequence', output, 'row >= work.rows.count || chunk', 'chunk'],
  [
    'columns stored beyond the head dim',
    output,
    '|| chunk * 8 >= a.head_dim_v) continue;',
    ') continue;',
  ],
  ['lse stored beyond the rows', output, 'lane.t == 0 && row < work.rows.count', 'lane.t == 0'],
  // Pages.
  ['pages: that of the first box for all', loader, 'shfl_idx(page, box)', 'shfl_idx(page, 0)'],
  ['pages: every lane asks TMA', loader, 'if (!elected) continue;', ''],
  [
    'pages: looked up beyond the sequence',
    loader,
    ' || key >= sequence.seqlen_k) return',
    ') return',
  ],
  ['pages: those of the first sequence', loader, 'sequence.k_batch, key)', '0, key)'],
  [
    'pages: their first rows for every box',
    loader,
    'page_size.remainder(key)',
    'page_size.remainder(key) * 0',
  ],
  ['pages: boxes one over the other', loader, 'box * p.box_keys * kPanelRowBytes', '0'],
  // Splits.
  ['every split attends to all keys', work, 'if (work.part.parts > 1) range', 'if (false) range'],
  ['the sink joins every split', output, 'work.part.split == 0', 'true'],
  ['partial results of the other split', workItem, 'row0(index * p.stride)', 'row0(0)'],
  ['partial results of the other item', workItem, 'row0(item.partial)', 'row0(0)'],
  ['items of the first head alone', workLookup, '= head_blocks.remainder(index)', '= 0'],
  [
    'partial results stored beyond the rows',
    output,
    'if (rows.row0 + line >= rows.work.rows.count) continue;',
    '',
  ],
  // Registers.
  [
    'more registers than an SM has',
    forward,
    'ptx::setmaxnreg_inc<Traits::kConsumerRegisters>()',
    'ptx::setmaxnreg_inc<Traits::kConsumerRegisters + 8>()',
  ],
  // What is visited.
  ['a tile too few', work, 'n_block >= n_block_min; }', 'n_block > n_block_min; }'],
  ['first tile of all left out', work, 'n_block = range.end;', 'n_block = range.end - 1;'],
  ['mask left out in partial tiles', forward, 'if (kFeatured || partial)', 'if (kFeatured)'],
  [
    'tiles skipped that some rows see',
    forward,
    'walk.mask.window.end(work.rows.query_end(row0 + kWarpgroupRows) - 1)',
    'walk.mask.window.end(work.rows.query_begin(row0))',
  ],
  // Tiles that blocks draw.
  ['tiles drawn past the first ones', work, 'static_cast<int>(gridDim.x) +', '1 +'],
  ['the counter of tiles not taken back', work, 'p.drawn, p.tiles - 1)', 'p.drawn, p.tiles)'],
  ['the counter of tiles taken back early', work, 'p.drawn, p.tiles - 1)', 'p.drawn, p.tiles - 2)'],
  ['every lane draws a tile', loader, 'if (this_thread() % 32 == 0) tile = draw', 'tile = draw'],
  ['lanes without the tile that was drawn', loader, 'tile = ptx::shfl_idx(tile, 0);', ''],
  [
    'a tile told of before the last one is known',
    loader,
    'ptx::mbar_wait(shared.queries_free(consumer), parity ^ 1);\n    ptx::sts<int>(shared.tile(consumer), tile);',
    'ptx::sts<int>(shared.tile(consumer), tile);\n    ptx::mbar_wait(shared.queries_free(consumer), parity ^ 1);',
  ],
  [
    'a tile told of after its queries',
    loader,
    '    ptx::sts<int>(shared.tile(consumer), tile);\n    if (see',
    '    if (see',
  ],
  [
    'nobody told that there are no more tiles',
    loader,
    'if (elected) hand_out(p, shared, tile, true',
    'if (false) hand_out(p, shared, tile, true',
  ],
  [
    'checkers not waited for with the next tile',
    traits,
    '(consumer == 0 ? Traits::kCheckers : 0)',
    '0',
  ],
  [
    'checkers do not say that they know the tile',
    producer,
    'arrive_warp(shared.queries_free(0));',
    '',
  ],
  [
    'checkers do not wait for the tile',
    producer,
    'ptx::mbar_wait(shared.queries_full(0), parity);',
    '',
  ],
  [
    'dropout of the tile after',
    forward,
    'drop_out(a, work.rows, work.batch, row0, key0, s)',
    'drop_out(a, work.rows, work.batch, row0, key0 + 8, s)',
  ],
];

/** Of the float8 kernels alone. */
export const forwardFp8 = [
  ['bytes of a column in another order', producer, '0x7531u : 0x6420u', '0x7351u : 0x6240u'],
  ['even and odd columns exchanged', producer, '^ (line >= 4)', '^ (line < 4)'],
  [
    'keys transposed into the next chunk',
    producer,
    '16 * chunk + column, keys)',
    '16 * chunk + column, keys ^ 1)',
  ],
  [
    'transposed values hidden from the tensor core',
    producer,
    'if (Traits::kFp8 || hides_pairs) ptx::fence',
    'if (hides_pairs) ptx::fence',
  ],
  [
    'values transposed over those in use',
    producer,
    'if constexpr (Traits::kFp8) shared.transposed.wait_free(at);',
    '',
  ],
  [
    'NaN of hidden pairs not cleared',
    producer,
    'checker, hides_pairs, rows);',
    'checker, false, rows);',
  ],
  [
    'one warp vouches for a transposed tile',
    traits,
    'transposed.init(kWarps, Traits::kCheckers);',
    'transposed.init(kWarps, 1);',
  ],
  [
    'values freed before all are transposed',
    traits,
    'values.init(Traits::kCheckers);',
    'values.init(1);',
  ],
  ['weights not lifted', traits, 'kFp8 ? 8 : 0', '0'],
  ['lse lifted', output, ' - Traits::kLift', ''],
  [
    'scale of the first keys for all',
    forward,
    'p.k_scales, work.batch, head, walk.key0()',
    'p.k_scales, work.batch, head, 0',
  ],
  [
    'scale of the first values for all',
    forward,
    'p.v_scales, work.batch, head, walk.key0()',
    'p.v_scales, work.batch, head, 0',
  ],
  [
    'scale of the first query for all',
    forward,
    'work.rows.head(row), work.rows.query(row)',
    'work.rows.head(row), 0',
  ],
  [
    'keys in the scales of the first sequence',
    forward,
    'p.k_scales, work.batch, head',
    'p.k_scales, 0, head',
  ],
  [
    'values in the scales of the first sequence',
    forward,
    'p.v_scales, work.batch, head',
    'p.v_scales, 0, head',
  ],
  [
    'queries in the scales of the first sequence',
    forward,
    'p.q_scales, work.batch,',
    'p.q_scales, 0,',
  ],
  ['accumulators left in the old scale', forward, 'alpha[1] *= ratio;', ''],
  ['output not scaled', forward, 'consumer.value_scale,', '1.f,'],
  ['tiles of a weight fragment exchanged', forward, '4 * step + q / 2 * 2', '4 * step + q % 2 * 2'],
  [
    'step along the transposed values',
    forward,
    'by_columns(values, step),',
    'by_columns(values, step ^ 1),',
  ],
];
