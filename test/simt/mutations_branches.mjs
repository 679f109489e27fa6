// Mistakes in launches side by side: see mutations.mjs.
const branches = 'cuda/runtime/branches.cpp';
const forward = 'cuda/runtime/forward.cu';

const begins = 'FA_CUDA(cudaStreamWaitEvent, beside.stream, branches_->begun_, 0);';
const ended = 'FA_CUDA(cudaEventRecord, branch.ended, branch.stream);';
const waits = 'FA_CUDA(cudaStreamWaitEvent, queue_.stream, branch.ended, 0);';

/** [fault, file, from, to]. */
export const launchesSideBySide = [
  ['a branch does not wait for what came before', branches, begins, ''],
  [
    'the event in front of a call is never recorded',
    branches,
    'FA_CUDA(cudaEventRecord, branches_->begun_, queue_.stream);',
    '',
  ],
  ['the queue does not wait for its branches', branches, waits, ''],
  ['the end of a branch is never recorded', branches, ended, ''],
  [
    'the end of a branch recorded on the queue',
    branches,
    ended,
    ended.replace('branch.stream', 'queue_.stream'),
  ],
  [
    'the last branch is not waited for',
    branches,
    'joined_ < given_ - 1; ++joined_) {',
    'joined_ < given_ - 2; ++joined_) {',
  ],
  ['the merge before the branches are waited for', forward, '  fork.join();\n', ''],
];
