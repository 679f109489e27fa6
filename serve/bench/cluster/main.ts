// `npm run bench:cluster`: clusters of processes of this machine, all parts or the one that is named.
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { chaos, routing, scale, throughput, transfer } from './parts.js';
import { chaosTable, routingTable, scaleTable, throughputTable, transferTable } from './report.js';

const page = fileURLToPath(new URL('../docs/', import.meta.url)).concat('cluster-figures.md');

const positive = (text: string): number => {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError(`${text} is no positive integer.`);
  return Number(text);
};

const print = (result: object): void => console.log(JSON.stringify(result));
const machine = () => ({ cpu: cpus()[0].model, cores: cpus().length, load: loadavg()[0] });

const program = new Command('bench:cluster').description('clusters of processes of this machine');

const parts = {
  chaos: program
    .command('chaos')
    .description('chats while workers end: every one complete, with the words of a quiet run')
    .option('--chats <n>', 'chats of two turns', positive, 200)
    .option('--workers <n>', '', positive, 3)
    .option('--frontends <n>', '', positive, 2)
    .option('--kill-every <milliseconds>', 'from one death to the next', positive, 5000)
    .option('--kills <n>', 'the chats are held again until so many died', positive, 6)
    .option('--side <n>', 'chats at a time', positive, 16)
    .option('--max-tokens <n>', 'of an answer', positive, 100)
    .action(async (options) => {
      const result = await chaos(options);
      print({ ...result, ...machine() });
      if (result.same.some((each) => each < result.decided)) process.exitCode = 1;
    }),
  routing: program
    .command('routing')
    .description('the share of prompt tokens that are found, beside workers chosen at random')
    .option('--chats <n>', '', positive, 48)
    .option('--systems <n>', 'different system prompts', positive, 4)
    .option('--system-tokens <n>', '', positive, 512)
    .option('--turns <n>', '', positive, 4)
    .option('--workers <n>', '', positive, 3)
    .option('--side <n>', 'chats at a time', positive, 12)
    .option('--cache <tokens>', 'of each worker', positive, 8192)
    .action(async (options) => {
      print({ ...options, ...machine() });
      for (const each of await routing(options)) print(each);
    }),
  throughput: program
    .command('throughput')
    .description('tokens a second of one process and of 1, 2, … workers, and what is between')
    .option('--workers <n>', 'the most', positive, 3)
    .option('--chats <n>', 'for each worker', positive, 64)
    .option('--side <n>', 'chats at a time, for each worker', positive, 8)
    .option('--prompt-words <n>', '', positive, 40)
    .option('--answer-tokens <n>', '', positive, 64)
    .action(async (options) => {
      print({ ...options, ...machine() });
      for (const each of await throughput(options)) print(each);
    }),
  transfer: program
    .command('transfer')
    .description('what a token costs that moves from one cache to another')
    .option('--tokens <n>', 'of the longer text', positive, 4096)
    .option('--rounds <n>', '', positive, 3)
    .action(async (options) => {
      print({ ...options, ...machine() });
      for (const each of await transfer(options)) print(each);
    }),
  scale: program
    .command('scale')
    .description('a model of 100 and of 10,000 workers, by costs measured here')
    .action(() => {
      const { costs, parts: all } = scale();
      print({ ...machine(), costs });
      for (const { load, result } of all) print({ load, ...result });
    }),
};

/** Smaller ones than usual, to see that everything works. */
const small = {
  chaos: ['--chats', '24', '--kills', '2', '--max-tokens', '40'],
  routing: ['--chats', '12', '--turns', '2'],
  throughput: ['--chats', '8', '--answer-tokens', '24'],
  transfer: ['--tokens', '1024', '--rounds', '1'],
};

function optionsOf<Name extends keyof typeof small>(name: Name, isSmall: boolean) {
  return parts[name].parseOptions(isSmall ? small[name] : []) && parts[name].opts();
}

program
  .command('all', { isDefault: true })
  .description('all of these, as tables')
  .option('--quick', 'smaller ones, to see that everything works')
  .option('--write', 'into cluster-figures.md, beside the page on clusters')
  .action(async ({ quick = false, write = false }) => {
    const { cpu, cores, load } = machine();
    const asked = `npm run bench:cluster --${quick ? ' --quick' : ''} --write`;
    const sections: string[] = [
      '# Figures of clusters',
      `Written by \`${asked}\`, which also says what is measured. ${cpu}, ${cores} cores, which ` +
        `had ${load.toFixed(1)} to do at the beginning (load average), on ` +
        `${new Date().toISOString().slice(0, 10)}. [What clusters are](cluster.md).`,
    ];
    const add = (title: string, text: string, table: string): void => {
      const section = [`## ${title}`, text, table].join('\n\n');
      console.log(`${section}\n`);
      sections.push(section);
    };
    add(
      'Throughput',
      'Each worker has one thread. Clients, frontend and NATS have the same cores. ' +
        'The last three columns are processor time for each token of an answer.',
      throughputTable(await throughput(optionsOf('throughput', quick) as never)),
    );
    add(
      'Pages that move',
      'Keys and values in the shape of Llama 3.2 1B (16 layers, 8 kv heads of 64), from one ' +
        'cache to another through JetStream on this machine.',
      transferTable(await transfer(optionsOf('transfer', quick) as never)),
    );
    add(
      'Routing',
      'The same chats on three workers.',
      routingTable(await routing(optionsOf('routing', quick) as never)),
    );
    add(
      'Faults',
      'Workers are killed and told to stop in turn. Words are compared with a quiet run.',
      chaosTable(await chaos(optionsOf('chaos', quick) as never)),
    );
    add('Size', 'Computed, from what messages and choices cost here.', scaleTable(scale().parts));
    if (write) writeFileSync(page, `${sections.join('\n\n')}\n`);
  });

await program.parseAsync();
