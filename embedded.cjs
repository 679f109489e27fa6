'use strict';
// The prebuilt binaries as literal requires, for tools that take along or embed what these name:
// tracers (@vercel/nft) and `bun build --compile`. In a try block, where they forgive a file that
// is missing. package.json gives bundlers that know no .node files embedded-nowhere.js instead:
// they would fail, and not say what to do.

/** The addon that was embedded for this system. */
exports.embedded = (libc) => {
  try {
    switch (`${process.platform}-${process.arch}`) {
      case 'linux-x64':
        if (libc === 'musl') return require('./prebuilds/linux-x64/flash-attention.musl.node');
        return require('./prebuilds/linux-x64/flash-attention.glibc.node');
      case 'linux-arm64':
        if (libc === 'musl') return require('./prebuilds/linux-arm64/flash-attention.musl.node');
        return require('./prebuilds/linux-arm64/flash-attention.glibc.node');
      case 'darwin-arm64':
        return require('./prebuilds/darwin-arm64/flash-attention.node');
      case 'darwin-x64':
        return require('./prebuilds/darwin-x64/flash-attention.node');
      case 'win32-x64':
        return require('./prebuilds/win32-x64/flash-attention.node');
      default:
        return undefined;
    }
  } catch (error) {
    if (error?.code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
};
