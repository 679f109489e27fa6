// The mistakes of the kernel of latents of sm_90a: see mutations.mjs.
const kernel = 'cuda/sm90/mla.h';
const consumer = 'cuda/sm90/mla_consumer.h';
const loader = 'cuda/sm90/mla_loader.h';
const output = 'cuda/sm90/mla_output.h';
const traits = 'cuda/sm90/mla_traits.h';

const fence = 'ptx::fence_proxy_async();';
const half = 'ptx::mbar_wait(shared.full(kGroup, half), parity);';
const queries = 'ptx::mbar_wait(shared.queries_full(), 0);';
const weightsTold = 'ptx::bar_sync(kFirstWeightsBarrier + kOther, Traits::kStorers);';
const tellWeights = 'ptx::bar_arrive(kFirstWeightsBarrier + kGroup, Traits::kStorers);';
const cleared = '// They are clear for all; tell() has the fence.\n';
const settledOther = 'ptx::wgmma_wait<0>(o);\n        give_back(kOther);\n      }\n      tell();';
const settledOwn = 'ptx::wgmma_wait<0>(o, weights);\n      give_back(kGroup);';
const lastOfOther = 'multiply_other();\n          ptx::wgmma_wait<0>(o);\n          break;';
const free = 'ptx::mbar_wait(shared.free(stage, half), parity ^ 1);';
const findNext = 'if (walk.more()) source.find(keys, walk.key0(), walk.window.seqlen_k);';

export const mlaSm90 = [
  ['blocks without work stay', kernel, 'if (without_work(p.splits, p.head_blocks)) return;', ''],
  ['barriers used before they are there', kernel, 'ptx::sync_block();\n  const int', 'const int'],
  ['barriers without their fence', traits, 'ptx::fence_mbar_init();', ''],
  [
    'one warp too few frees a half',
    traits,
    'free(stage, half), kWarpgroupWarps)',
    'free(stage, half), kWarpgroupWarps - 1)',
  ],
  [
    'one thread too few fills a half',
    traits,
    'full(stage, half), Traits::kThreads)',
    'full(stage, half), Traits::kThreads - 1)',
  ],
  ['no wait for queries', consumer, queries, ';'],
  ['no wait for a half of a tile', consumer, half, ''],
  ['no fence after the wait for a half of a tile', consumer, `${half}\n      ${fence}`, half],
  [
    'one half is not waited for',
    consumer,
    'shared.full(kGroup, half)',
    'shared.full(kGroup, kGroup)',
  ],
  ['scores begin anew with the second half', consumer, 'i > 0 || step > first', 'step > first'],
  ['rotated dims left out', consumer, ': Traits::kPanels)', ': Traits::kPanels - 1)'],
  [
    'own values of the other half',
    consumer,
    'shared.values(kGroup, kGroup)',
    'shared.values(kGroup, kOther)',
  ],
  [
    'values of the other one, of the other half',
    consumer,
    'shared.values(kOther, kGroup)',
    'shared.values(kOther, kOther)',
  ],
  [
    'values of the own tile in place of the other one',
    consumer,
    'shared.values(kOther, kGroup)',
    'shared.values(kGroup, kGroup)',
  ],
  ['no wait for weights of the other warpgroup', consumer, weightsTold, ''],
  ['weights told without a fence', consumer, `${fence}\n    ${tellWeights}`, tellWeights],
  [
    'weights told before they are stored',
    consumer,
    'tell() const {\n',
    `tell() const {\n    ${tellWeights}\n`,
  ],
  ['weights of other rows', consumer, 'offset(line0() + lane % 16, 2', 'offset(lane % 16, 2'],
  [
    'maxima of other rows',
    consumer,
    'shared.maximum(line0() + 8 * r + lane.g)',
    'shared.maximum(8 * r + lane.g)',
  ],
  [
    'output not brought to maxima of the other warpgroup',
    consumer,
    'if (!ptx::vote_all(unchanged)) OnlineSoftmax<1>::rescale(o, alpha);',
    '',
  ],
  [
    'sums not brought to maxima of the other warpgroup',
    consumer,
    'softmax.sum[r] *= alpha[r];',
    '',
  ],
  ['maxima of the other warpgroup not taken over', consumer, 'softmax.maximum[r] = top;', ''],
  [
    'output not brought to the own maxima',
    consumer,
    'if (moved) OnlineSoftmax<1>::rescale(o, alpha);',
    '',
  ],
  [
    'hidden pairs of other rows',
    consumer,
    'block.batch, block.row0 + line0(),',
    'block.batch, block.row0,',
  ],
  [
    'values cleared while scores are computed',
    consumer,
    'ptx::bar_sync(kFirstWarpgroupBarrier + kGroup, kWarpgroupThreads);  // all',
    '// all',
  ],
  [
    'values used before they are clear',
    consumer,
    `${cleared}    ptx::bar_sync(kFirstWarpgroupBarrier + kGroup, kWarpgroupThreads);`,
    '',
  ],
  ['values not cleared', consumer, 'if (partial) clear_values();', ''],
  ['cleared values not told of', consumer, 'any_poison = true;', ''],
  [
    'weights stored while those of the other warpgroup are read',
    consumer,
    settledOther,
    'tell();\n        ptx::wgmma_wait<0>(o);\n        give_back(kOther);\n      }\n      if (kGroup == 0) tell();',
  ],
  ['own half never given back', consumer, settledOwn, 'ptx::wgmma_wait<0>(o, weights);'],
  [
    'own half given back while products read it',
    consumer,
    settledOwn,
    'give_back(kGroup);\n      ptx::wgmma_wait<0>(o, weights);',
  ],
  [
    'half of the other tile never given back',
    consumer,
    settledOther,
    'ptx::wgmma_wait<0>(o);\n      }\n      tell();',
  ],
  [
    'half of the other tile given back while products read it',
    consumer,
    settledOther,
    'give_back(kOther);\n        ptx::wgmma_wait<0>(o);\n      }\n      tell();',
  ],
  ['last tile of the other warpgroup left out', consumer, lastOfOther, 'break;'],
  ['parity of the stages does not change', consumer, 'walk.more(); parity ^= 1', 'walk.more();'],
  [
    'sums read before they are told',
    kernel,
    'ptx::bar_sync(kStorersBarrier, Traits::kStorers);  // sums',
    '// sums',
  ],
  [
    'poison restored before rows are stored',
    kernel,
    'ptx::bar_sync(kStorersBarrier, Traits::kStorers);  // rows',
    '// rows',
  ],
  ['poison not restored', kernel, 'if (!shared.poisoned()) return;', 'return;'],
  ['poison restored to other dims', kernel, 'this_thread() - kWarpgroupThreads,', 'this_thread(),'],
  ['more registers than there are', traits, 'kComputeRegisters = 232', 'kComputeRegisters = 240'],
  ['no wait for a free half', loader, free, ''],
  ['a half filled a round early', loader, 'parity ^ 1', 'parity'],
  ['halves in the wrong place', loader, 'if (half == 0)', 'if (half == 1)'],
  [
    'a half told of as the other one',
    loader,
    'shared.full(stage, half)',
    'shared.full(stage, half ^ 1)',
  ],
  ['queries not told of', loader, 'ptx::cp_async_mbar_arrive(shared.queries_full());', ''],
  ['next tile looked up where the one before was', loader, findNext, ''],
  ['stages do not take turns', loader, 'stage ^= 1;', ''],
  ['parity of the loader does not change', loader, 'parity ^= stage;', ''],
  [
    'keys that are not there are copied',
    loader,
    'walk.window.seqlen_k - walk.key0();',
    'kMlaKeys;',
  ],
  ['sums of one warpgroup alone', output, ' + ptx::lds<float>(shared.sum(1, line))', ''],
  ['sink joins every split', output, 'block.part.split == 0', 'true'],
  ['lse stored by both warpgroups', output, 'group == 0 && lane.t', 'lane.t'],
  ['lse of rows that are not there', output, ' && row < block.rows.count', ''],
  ['output of rows that are not there', output, 'if (row >= block.rows.count) continue;', ''],
  [
    'output of dims that are not there',
    output,
    'if (column0 + 8 * d >= a.head_dim_v) continue;',
    '',
  ],
];
