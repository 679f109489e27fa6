// `npm run quickstart`: installs and builds what is missing, then runs the example. Arguments go to
// it.
import { ensureBuilt, run } from './ensure-built.mjs';

ensureBuilt();
run(process.execPath, ['examples/quickstart.mjs', ...process.argv.slice(2)]);
