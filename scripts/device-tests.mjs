/**
 * A regular expression for the test files that compute with tensors of the default device; the
 * others are about other things.
 */
export const deviceTests =
  'test/(numerics/.*|device/.*|serving/.*|(merge|varlen|paged|packed|quantize|float8-ragged|sdpa|concat|tensor|tensor-views))\\.test\\.ts$';

/** Those of documents that tell what devices can do; a packed package has none. */
export const docsTests = 'test/support-matrix\\.test\\.ts$';
