#!/usr/bin/env node
// The command line of flash-attention-serve. Results go to stdout, everything else to stderr.
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { messageOf } from './cli-error.js';
import { printInspection } from './inspect.js';
import { serve } from './serve.js';
import { runFrontend, runWorker } from './cluster.js';
import {
  addClusterOptions,
  addDrainOption,
  addEngineOptions,
  addHttpOptions,
  addServeOptions,
  addWorkerOptions,
  natsToJoin,
} from './serve-options.js';

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

const program = new Command('flash-attention-serve')
  .description('An OpenAI-compatible server for ONNX decoder models')
  .version(version)
  .showHelpAfterError('(add --help for what there is)');

addServeOptions(
  program
    .command('serve', { isDefault: true })
    .description('serve the model of a folder on HTTP; the word serve may be left out')
    .argument('<folder>', "the model's folder"),
).action((folder, options) => serve(folder, options));

addClusterOptions(
  addHttpOptions(
    program.command('frontend').description('answer HTTP for the workers of a cluster'),
  ),
  natsToJoin(),
).action((options) => runFrontend(options));

addClusterOptions(
  addWorkerOptions(
    addDrainOption(
      addEngineOptions(
        program
          .command('worker')
          .description('compute for the frontends of a cluster')
          .argument('<folder>', "the model's folder"),
      ),
    ),
  ),
  natsToJoin(),
).action((folder, options) => runWorker(folder, options));

program
  .command('inspect')
  .description('what a folder holds, and whether it can be served; exits with 1 when not')
  .argument('<folder>', "the model's folder")
  .option('--json', 'print one JSON object')
  .action(async (folder, options) => {
    process.exitCode = await printInspection(folder, options);
  });

try {
  await program.parseAsync();
} catch (error) {
  console.error(messageOf(error) === undefined ? error : `error: ${messageOf(error)}`);
  process.exitCode = 1;
}
