#!/usr/bin/env node
// The file that the package calls its command. An old Node.js must be able to read it, so that it
// can say what is missing: nothing to import at run time, no syntax of this decade.
import { nodeFloor } from '../native/package.js';

const floor = nodeFloor.split('.').map(Number);
const found = process.versions.node.split('.').map(Number);
const isOld = found[0] < floor[0] || (found[0] === floor[0] && found[1] < floor[1]);

if (isOld) {
  console.error(
    `flash-attention needs Node.js ${nodeFloor} or later and this is ${process.versions.node}. ` +
      'Upgrade Node.js: https://nodejs.org/en/download',
  );
  process.exitCode = 1;
} else {
  import('./cli-main.js');
}
