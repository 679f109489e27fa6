// `npm run bench:context`: decoding over several processes and NATS, beside one process.
import { runServeBench } from './serve-bench.mjs';

await runServeBench('context', ['main', 'worker']);
