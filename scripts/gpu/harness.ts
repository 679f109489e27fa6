/**
 * The part of jest that the device tests use, for machines without npm: describe, test, their `each`, `skip`, beforeAll
 * and afterAll, and jest's own `expect`. Tests run one after the other.
 *
 *   --json FILE      results
 *   --filter TEXT    only tests whose full name matches this regular expression
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { expect } from 'expect';

type Body = (...args: never[]) => unknown;
type Hook = () => unknown;

interface Suite {
  readonly name: string;
  readonly skipped: boolean;
  readonly before: Hook[];
  readonly after: Hook[];
  readonly children: (Suite | Test)[];
}

interface Test {
  readonly name: string;
  readonly skipped: boolean;
  readonly body: Hook;
}

interface Result {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly milliseconds: number;
  readonly error?: string;
}

const suite = (name: string, skipped = false): Suite => ({
  name,
  skipped,
  before: [],
  after: [],
  children: [],
});
const all = suite('');
let current = all;

/** printf as jest does it in the titles of `each`. */
export function title(template: string, row: readonly unknown[]): string {
  let next = 0;
  return template.replace(/%[sdifjop%]/g, (what) => (what === '%%' ? '%' : String(row[next++])));
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
    current.children.push({ name, skipped: skipped || current.skipped, body });
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

/** Collects the tests of a file. */
export async function inFile(name: string, load: () => Promise<unknown>): Promise<void> {
  const file = suite(name);
  all.children.push(file);
  current = file;
  await load();
  current = all;
}

const messageOf = (error: unknown) => String((error as Error)?.stack ?? error);

async function runTest(one: Test, name: string): Promise<Result> {
  if (one.skipped) return { name, outcome: 'skipped', milliseconds: 0 };
  const started = performance.now();
  const passed = () => Math.round(performance.now() - started);
  try {
    await one.body();
    return { name, outcome: 'passed', milliseconds: passed() };
  } catch (error) {
    return { name, outcome: 'failed', milliseconds: passed(), error: messageOf(error) };
  }
}

async function runSuite(
  one: Suite,
  prefix: string,
  wanted: RegExp,
  results: Result[],
): Promise<void> {
  const report = (result: Result) => {
    results.push(result);
    console.log(`${result.outcome.padEnd(8)}${result.name} (${result.milliseconds} ms)`);
    if (result.error) console.log(result.error.replace(/^/gm, '    '));
  };
  try {
    if (!one.skipped) for (const hook of one.before) await hook();
    for (const child of one.children) {
      const name = `${prefix}${child.name}`;
      if ('children' in child) await runSuite(child, `${name} › `, wanted, results);
      else if (wanted.test(name)) report(await runTest(child, name));
    }
    if (!one.skipped) for (const hook of one.after) await hook();
  } catch (error) {
    report({ name: `${prefix}hooks`, outcome: 'failed', milliseconds: 0, error: messageOf(error) });
  }
}

/** Runs everything collected; the exit code of the process says how it went. */
export async function runAll(): Promise<void> {
  const { values } = parseArgs({
    options: { json: { type: 'string' }, filter: { type: 'string', default: '' } },
  });
  const results: Result[] = [];
  await runSuite(all, '', new RegExp(values.filter), results);
  const count = (outcome: Result['outcome']) => results.filter((r) => r.outcome === outcome).length;
  const [passed, failed, skipped] = [count('passed'), count('failed'), count('skipped')];
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  if (values.json) {
    writeFileSync(values.json, JSON.stringify({ passed, failed, skipped, results }, null, 1));
  }
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}
