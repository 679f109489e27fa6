// Runs nats-server as a child of its own, and ends it when whoever started this is gone, however
// that ended: nobody else would. Arguments: the folder of the server, which then goes too, and the
// server's command. Messages are signals for it.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';

const [folder, command, ...args] = process.argv.slice(2);
const server = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
let orphaned = false;

server.on('error', ({ message }) => {
  console.error(message);
  process.exit(1);
});
server.on('exit', (code) => {
  if (orphaned) rmSync(folder, { recursive: true, force: true });
  process.exit(code ?? 1);
});
process.on('message', (signal) => server.kill(signal));
const end = () => {
  orphaned = true;
  server.kill('SIGKILL');
};
process.on('disconnect', end);
if (!process.connected) end(); // before this listened
// It is told what to do; a signal that its group gets is not for it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
