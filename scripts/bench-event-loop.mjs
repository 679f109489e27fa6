// `npm run bench:event-loop`: how long the server's own thread is held by many chats.
import { runServeBench } from './serve-bench.mjs';

await runServeBench('event-loop', ['main', 'probe']);
