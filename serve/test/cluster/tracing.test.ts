import { propagation, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { TracedWork } from '../../src/cluster/tracing.js';
import { describeWithNats, TestCluster, type TestWorker } from '../support/cluster.js';
import { generationRequest } from '../support/generation-request.js';
import { until } from '../support/serving.js';

const spans = new InMemorySpanExporter();

/** Tells the worker that has something under way to leave it to others. */
async function drainBusy(workers: readonly TestWorker[]): Promise<void> {
  for (const { engine, node } of workers) {
    if ((await engine.stats()).running > 0) await node.drain(0);
  }
}

describeWithNats('a trace of an answer', () => {
  let cluster: TestCluster;
  beforeEach(async () => {
    cluster = await TestCluster.start();
  });
  afterEach(async () => {
    await cluster.close();
    trace.disable();
    propagation.disable();
  });

  test('begins where somebody traces, and leads from the frontend over its workers to their steps', async () => {
    expect(TracedWork.begin('answer', {}).headers).toBeUndefined();
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    const spanProcessors = [new SimpleSpanProcessor(spans)];
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }));
    const script = { model: { contextLength: 512 }, stepMilliseconds: 10 };
    const workers = [await cluster.scripted(script), await cluster.scripted(script)];
    const { engine } = await cluster.frontend({ workers: 2 });
    const generation = engine.generate(generationRequest({ maxTokens: 120 }));
    const tokens: number[] = [];
    let drained: Promise<void> | undefined;
    for await (const { token } of generation) {
      tokens.push(token);
      if (tokens.length === 10) drained = drainBusy(workers);
    }
    await drained;
    expect(tokens).toHaveLength(120);
    const named = (name: string) => spans.getFinishedSpans().filter((span) => span.name === name);
    await until(() => named('work').length + named('answer').length >= 3);
    const all = spans.getFinishedSpans();
    const [answer] = named('answer');
    expect(new Set(all.map((span) => span.spanContext().traceId)).size).toBe(1);
    expect(answer.attributes).toMatchObject({
      'gen_ai.usage.input_tokens': 3,
      'gen_ai.usage.output_tokens': 120,
      'gen_ai.response.finish_reasons': 'length',
    });
    expect(answer.events.map(({ name }) => name)).toEqual(['sent', 'sent']);
    const works = named('work'); // in the order of their ends
    expect(works).toHaveLength(2);
    expect(new Set(works.map(({ attributes }) => attributes.worker)).size).toBe(2);
    for (const work of works)
      expect(work.parentSpanContext).toEqual(
        expect.objectContaining({ spanId: answer.spanContext().spanId }),
      );
    expect(named('prefill')).toHaveLength(2);
    const decodes = works.map((work) => {
      const { spanId } = work.spanContext();
      return named('decode').filter((span) => span.parentSpanContext?.spanId === spanId);
    });
    expect(decodes.map(({ length }) => length)).toEqual([1, 1]);
    const told = decodes.map(([{ attributes, events }]) => {
      expect(new Set(events.map(({ name }) => name))).toEqual(new Set(['steps']));
      expect(events).toHaveLength(Math.floor(Math.log2(Number(attributes.steps))) + 1);
      const sum = (name: string) =>
        events.reduce((all, event) => all + Number(event.attributes?.[name]), 0);
      expect(sum('steps')).toBe(attributes.steps);
      return sum('tokens');
    });
    // What the first one told and nobody heard the second one made again.
    const heard = Number(answer.events[1].attributes?.generated);
    expect(heard).toBeGreaterThanOrEqual(10);
    expect(told[0]).toBeGreaterThanOrEqual(heard);
    expect(told[1]).toBe(120 - heard);
  });
});
