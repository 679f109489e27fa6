// `npm run serve -- <folder>`: installs and builds what is missing, then starts the server on a
// model. Arguments go to it.
import { ensureServeBuilt, run } from './ensure-built.mjs';

ensureServeBuilt();
run(process.execPath, ['serve/dist/cli/main.js', ...process.argv.slice(2)]);
