// `npm run bench:soak`: whether the server's memory grows with the requests it has answered.
import { runServeBench } from './serve-bench.mjs';

await runServeBench('soak', ['main', 'collect']);
