// Mistakes in the backward pass of sm_90a for wide heads, beside those of what all widths have in
// common: lines [fault, file, from, to] for mutations.mjs.
const traits = 'cuda/sm90/backward_traits.h';
const mover = 'cuda/sm90/backward_mover.h';
const byDims = 'cuda/sm90/backward_by_dims.h';
const pairs = 'cuda/sm90/backward_pairs.h';
const origin = 'cuda/device/lane_pairs.h';

const noMoreSums = 'Base::leave_no_more_sums(sum_at);';
const storeKeys =
  'const AttentionParams& a = p.call.attention;\n    store_gradient(shared.k, p.call.dk, a.head_dim, a.scale, dk);';

export const backwardSm90Wide = [
  // Barriers and fences.
  ['P and dS free after one warpgroup', traits, 'ds_free, kWarps', 'ds_free, 4'],
  ['P and dS full after one warpgroup', traits, 'ds_full, kWarps', 'ds_full, 4'],
  ['dO free after one warpgroup', traits, 'douts.init(kWarps)', 'douts.init(4)'],
  [
    'P and dS written before they are free',
    byDims,
    'ptx::mbar_wait(shared.ds_free, visit.at.parity ^ 1);',
    '',
  ],
  ['P and dS never freed', byDims, 'if (band == kBands - 1) arrive_warp(shared.ds_free);', ''],
  [
    'P and dS freed a band too early',
    byDims,
    'if (band == kBands - 1) arrive',
    'if (band == 0) arrive',
  ],
  [
    'P and dS never freed by pairs',
    byDims,
    'arrive_warp(shared.douts.free(visit.at));\n    arrive_warp(shared.ds_free);',
    'arrive_warp(shared.douts.free(visit.at));',
  ],
  ['no proxy fence after P and dS are stored', byDims, 'ptx::fence_proxy_async();', ''],
  ["the others' P and dS not waited for", byDims, 'await_ds(visit.at);', ''],
  [
    'dS told of before it is stored',
    byDims,
    'store_scores(ds(), dp);\n    ptx::fence_proxy_async();\n    arrive_warp(shared.ds_full);',
    'arrive_warp(shared.ds_full);\n    store_scores(ds(), dp);\n    ptx::fence_proxy_async();',
  ],
  ['no wait for Q', byDims, 'Base::await_rows(shared.queries, visit);', ''],
  ['no wait for dO', byDims, 'Base::await_rows(shared.douts, visit);', ''],
  [
    'rows of the next sequence of Q kept',
    byDims,
    'Base::await_rows(shared.queries, visit);',
    'shared.queries.wait(visit.at);',
  ],
  [
    'rows of the next sequence of dO kept',
    byDims,
    'Base::await_rows(shared.douts, visit);',
    'shared.douts.wait(visit.at);',
  ],
  [
    'dO loaded before it is free',
    mover,
    'shared.douts.begin_fill(at);',
    'ptx::mbar_arrive_expect_tx(shared.douts.full(at), QueryTile::kBytes);',
  ],
  ['no fence before S', byDims, 'ptx::wgmma_fence(s);', ''],
  ['no fence before dP', byDims, 'ptx::wgmma_fence(dp);', ''],
  ['no fence before dK', byDims, 'ptx::wgmma_fence(dk);', ''],
  ['no fence before dV', byDims, 'ptx::wgmma_fence(dv);', ''],
  ['no fence before dQ', byDims, 'ptx::wgmma_fence(dq);', ''],
  ['S and dP in one batch', byDims, 'shared.k);\n    ptx::wgmma_commit();', 'shared.k);'],
  ['Q freed before dK is done', byDims, 'ptx::wgmma_wait<2>(dk);', ''],
  ['wait for dK one batch too lax', byDims, 'ptx::wgmma_wait<2>(dk);', 'ptx::wgmma_wait<3>(dk);'],
  ['dO freed before dV is done', byDims, 'ptx::wgmma_wait<1>(dv);', ''],
  ['wait for dV one batch too lax', byDims, 'ptx::wgmma_wait<1>(dv);', 'ptx::wgmma_wait<2>(dv);'],
  ['no wait for dQ', byDims, 'ptx::wgmma_wait<0>(dq);', ''],
  ['wait for dQ one batch too lax', byDims, 'ptx::wgmma_wait<0>(dq);', 'ptx::wgmma_wait<1>(dq);'],
  [
    'Q never freed',
    byDims,
    'ptx::wgmma_wait<2>(dk);\n        arrive_warp(shared.queries.free(visit.at));',
    'ptx::wgmma_wait<2>(dk);',
  ],
  [
    'K overwritten before the last part of dQ is taken',
    byDims,
    `${noMoreSums}\n\n    ${storeKeys}`,
    `${storeKeys}\n    ${noMoreSums}`,
  ],
  ['no sync_warp before a gradient is read back', byDims, 'ptx::sync_warp();', ''],
  // Operands.
  ['keys of the first warpgroup', byDims, 'first_key() * kPanelRowBytes', '0 * kPanelRowBytes'],
  [
    'dims of the first band',
    byDims,
    'number(band) * Tile::kPanelBytes',
    'band * Tile::kPanelBytes',
  ],
  [
    'P and dS exchanged',
    byDims,
    'shared.q(visit.at), ds());\n    ptx::wgmma_commit();',
    'shared.q(visit.at), weights());\n    ptx::wgmma_commit();',
  ],
  ['Q or dO not transposed', byDims, 'wgmma_ss<T, 1, 1>', 'wgmma_ss<T, 0, 1>'],
  ['P or dS not transposed', byDims, 'wgmma_ss<T, 1, 1>', 'wgmma_ss<T, 1, 0>'],
  ['K not transposed', byDims, 'wgmma_ss<T, 0, 1>', 'wgmma_ss<T, 0, 0>'],
  [
    'dQ added to the last band',
    byDims,
    'KeyTile::by_rows(columns, step),\n                             step > 0)',
    'KeyTile::by_rows(columns, step),\n                             true)',
  ],
  [
    'dK and dV of the last tile alone',
    byDims,
    'ScoreTile::by_rows(b, step), true)',
    'ScoreTile::by_rows(b, step), step > 0)',
  ],
  [
    'both bands one part of dQ',
    byDims,
    'leave_sum(sum_at, dq, number(band), visit.record);\n      sum_at.advance();\n    }\n  }',
    'leave_sum(sum_at, dq, number(0), visit.record);\n      sum_at.advance();\n    }\n  }',
  ],
  [
    'one place for all parts',
    mover,
    'Sum::part(p, record.tile, record.part)',
    'Sum::part(p, record.tile, consumer)',
  ],
  [
    'turns of the warpgroup, not of the part',
    mover,
    'record.tile + record.part;',
    'record.tile + consumer;',
  ],
  [
    'P and dS without swizzle',
    byDims,
    'first_key() / 8 + i / 2)',
    '(first_key() / 8 + i / 2) ^ lane.g)',
  ],
  ['gradients stored without transposition', byDims, 'stmatrix_x4_trans', 'stmatrix_x4'],
  [
    'keys of a gradient exchanged',
    byDims,
    'lane / 16 * 8 + lane % 8, chunk + lane / 8 % 2',
    'lane / 8 % 2 * 8 + lane % 8, chunk + lane / 16',
  ],
  // Masks, options, arithmetic.
  [
    'origin of the keys without the warpgroup',
    origin,
    '(Traits::kKeyRows ? part.row : part.column)',
    '(Traits::kKeyRows ? part.row : 0)',
  ],
  ['lse of the other row', byDims, 'lse[i / 2 % 2]', 'lse[i % 2]'],
  ['delta of the other row', byDims, 'delta[i / 2 % 2]', 'delta[i % 2]'],
  [
    'keys that are not finite multiplied',
    byDims,
    'bad_keys || Base::queries_poisoned(visit)',
    'Base::queries_poisoned(visit)',
  ],
  [
    'queries that are not finite multiplied',
    byDims,
    'bad_keys || Base::queries_poisoned(visit)',
    'bad_keys',
  ],
  ['weights of the other operand', pairs, 'kWeights == Weights::kA ? rows', 'true ? rows'],
  ['gradients not zero at first', byDims, 'dk[band][i] = dv[band][i] = 0;', 'dk[band][i] = 0;'],
];
