/**
 * The part of jest that the device tests use, for machines without npm: describe, test, their
 * `each`, `skip`, beforeAll and afterAll, and jest's own `expect`. This half runs in the processes
 * that test-processes.ts starts: it walks the tests of a file, runs those it is told to, one after
 * the other, and tells how each went.
 */
import { expect } from 'expect';

type Body = (...args: never[]) => unknown;
type Hook = () => unknown;

interface Suite {
  readonly name: string;
  readonly skipped: boolean;
  readonly before: Hook[];
  readonly after: Hook[];
  readonly children: (Suite | Test)[];
  /** What came of `before`, once a test needed it. */
  ready?: Promise<void>;
}

interface Test {
  readonly name: string;
  readonly skipped: boolean;
  readonly body: Hook;
  /** Its place in the file. */
  readonly index: number;
}

export interface Result {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly milliseconds: number;
  readonly error?: string;
}

/** What such a process says; it may run a test of which it asks once it hears `true`. */
export type Message =
  | { readonly kind: 'ask'; readonly name: string; readonly index: number }
  | { readonly kind: 'result'; readonly result: Result }
  | { readonly kind: 'finished' };

const suite = (name: string, skipped = false): Suite => ({
  name,
  skipped,
  before: [],
  after: [],
  children: [],
});
let current = suite('');
let tests = 0;

/** printf as jest does it in the titles of `each`, and `$property` of a row that is an object. */
export function title(template: string, row: readonly unknown[]): string {
  let next = 0;
  const properties = Object(row[0]) as Record<string, unknown>;
  return template
    .replace(/%[sdifjop%]/g, (what) => (what === '%%' ? '%' : String(row[next++])))
    .replace(/\$(\w+)/g, (what, name: string) => String(properties[name] ?? what));
}

const rowOf = (row: unknown) => (Array.isArray(row) ? row : [row]);

function withEach<B extends Body>(define: (name: string, body: B) => void) {
  return (rows: readonly unknown[]) => (template: string, body: B) => {
    for (const row of rows.map(rowOf)) {
      define(title(template, row), ((...rest: never[]) => body(...(row as never[]), ...rest)) as B);
    }
  };
}

function addSuite(skipped: boolean) {
  return (name: string, body: Hook) => {
    const outer = current;
    const inner = suite(name, skipped || outer.skipped);
    outer.children.push(inner);
    current = inner;
    body();
    current = outer;
  };
}

function addTest(skipped: boolean) {
  return (name: string, body: Hook) => {
    current.children.push({ name, skipped: skipped || current.skipped, body, index: tests++ });
  };
}

const describe = Object.assign(addSuite(false), {
  each: withEach(addSuite(false)),
  skip: Object.assign(addSuite(true), { each: withEach(addSuite(true)) }),
});
const test = Object.assign(addTest(false), {
  each: withEach(addTest(false)),
  skip: Object.assign(addTest(true), { each: withEach(addTest(true)) }),
});
const beforeAll = (hook: Hook) => current.before.push(hook);
const afterAll = (hook: Hook) => current.after.push(hook);
Object.assign(globalThis, { describe, test, it: test, expect, beforeAll, afterAll });

/** Cut: what goes wrong once on a GPU goes wrong in every test, and all of it has to come back. */
const messageOf = (error: unknown) => String((error as Error)?.stack ?? error).slice(0, 2000);

const tell = (message: Message) =>
  new Promise<void>((told) => process.send?.(message, undefined, undefined, () => told()));

function ask(name: string, index: number): Promise<boolean> {
  const answer = new Promise<boolean>((resolve) => process.once('message', resolve));
  void tell({ kind: 'ask', name, index });
  return answer;
}

/** Runs `body` as the test of that name. */
async function attempt(name: string, body: Hook): Promise<Result> {
  const started = performance.now();
  const passed = () => Math.round(performance.now() - started);
  try {
    await body();
    return { name, outcome: 'passed', milliseconds: passed() };
  } catch (error) {
    return { name, outcome: 'failed', milliseconds: passed(), error: messageOf(error) };
  }
}

async function runHooks(hooks: readonly Hook[]): Promise<void> {
  for (const hook of hooks) await hook();
}

/** `ready` runs the hooks of the suites around this one. */
async function runSuite(one: Suite, path: string, ready: () => Promise<void>): Promise<void> {
  const enter = () => {
    one.ready ??= ready().then(() => runHooks(one.before));
    return one.ready;
  };
  for (const child of one.children) {
    const name = `${path} › ${child.name}`;
    if ('children' in child) {
      await runSuite(child, name, enter);
    } else if (await ask(name, child.index)) {
      const run = () => enter().then(child.body);
      const result: Result = child.skipped
        ? { name, outcome: 'skipped', milliseconds: 0 }
        : await attempt(name, run);
      await tell({ kind: 'result', result });
    }
  }
  if (!one.ready || one.after.length === 0) return;
  const result = await attempt(`${path} › afterAll`, () => runHooks(one.after));
  if (result.outcome === 'failed') await tell({ kind: 'result', result });
}

/** Offers every test of a file to the process that started this one. */
export async function runFile(name: string, load: () => Promise<unknown>): Promise<void> {
  await load();
  await runSuite(current, name, () => Promise.resolve());
  await tell({ kind: 'finished' });
  process.disconnect();
}
