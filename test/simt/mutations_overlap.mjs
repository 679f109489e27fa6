// Mistakes in launches that overlap: see mutations.mjs.
const combine = 'cuda/elementwise/combine.cu';
const overlap = 'cuda/device/overlap.h';
const decode = 'cuda/sm80/decode.h';
const forward = 'cuda/sm80/forward.h';
const latents = 'cuda/sm80/mla.h';
const latentsOnHopper = 'cuda/sm90/mla.h';

const wait = 'ptx::wait_for_primary();     // until';

/** [fault, file, from, to]. */
export const launchesOverlap = [
  ['merge does not wait for the splits', combine, wait, '// until'],
  ['one lane of the merge waits', combine, wait, `if (lane == 0) ${wait}`],
  ['no block waits for the launch in front', overlap, 'gridDim.x - 1', 'gridDim.x'],
  ['decode ends before the launch in front', decode, 'end_behind_primary();', ''],
  ['few rows end before the launch in front', forward, 'end_behind_primary();', ';'],
  ['latents end before the launch in front', latents, 'end_behind_primary();', ''],
  ['decode lets nothing begin', decode, 'ptx::launch_dependents();', ''],
  ['few rows let nothing begin', forward, 'ptx::launch_dependents();', ''],
  // Of the others they are the first on GPUs without the kernel of sm_90a.
  [
    'many rows let nothing begin',
    forward,
    'ptx::launch_dependents();',
    'if constexpr (kFeatured) ptx::launch_dependents();',
  ],
  ['latents let nothing begin', latents, 'ptx::launch_dependents();', ''],
  ['latents on Hopper let nothing begin', latentsOnHopper, 'ptx::launch_dependents();', ''],
];
