// `npm run bench:cluster -- <what>`: clusters of processes of this machine. --help says what there
// is.
import { runServeBench } from './serve-bench.mjs';

await runServeBench('cluster', ['main']);
