// The page of a result, from rows as `npm run bench:serve -- --json` leaves them.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseHTML } from 'linkedom';
import { colorOf } from '../../../bench/report/palette.js';
import { pageOf } from '../../../bench/report/page.js';
import { commandOf, writeResult } from '../../../bench/result-file.js';
import { type ContestantName, contestantNames, titles } from '../../bench/contestant.js';
import { servePage } from '../../bench/report/page.js';
import { readServeResult, type ServeResult, type ServeRow } from '../../bench/row.js';

/** The empty one: nothing is asked for. */
const icon = /<link rel="icon" href="data:,">|<link href="data:," rel="icon">/;

const root = path.resolve(import.meta.dirname, '../../..');
const style = readFileSync(path.join(root, 'bench/report/page.css'), 'utf8');

const spread = (median: number) => ({
  count: 3,
  min: median * 0.8,
  p10: median * 0.9,
  median,
  p90: median * 1.1,
  max: median * 1.2,
});

type Where = Pick<ServeRow, 'load' | 'x' | 'context' | 'shared'>;

/** Contestant `n` is n + 1 times slower than the first. */
function row(contestant: ContestantName, { load, x, context, shared }: Where): ServeRow {
  const slow = 1 + contestantNames.indexOf(contestant);
  const wait = (slow * context * x) / (shared ? 20_000 : 1000);
  return {
    suite: 'serve',
    group: `${load} loop, context ${context}${shared ? ', shared' : ''}`,
    who: titles[contestant],
    ...{ contestant, load, x, context, shared },
    newTokens: 16,
    requests: 6,
    tokensPerSecond: spread((100 * x) / slow),
    decodeTokensPerSecond: load === 'closed' ? spread((200 * x) / slow) : undefined,
    firstToken: { p50: wait, p99: 3 * wait },
    perToken: { p50: 0.01 * slow, p99: 0.05 * slow },
    answer: { p50: 2 * wait, p99: 4 * wait },
    peakMemory: slow * 2 ** 28,
    eventLoop: 0.002,
    agreement: contestant === 'server' ? undefined : 1,
  };
}

const keepers: readonly ContestantName[] = ['engine', 'server', 'llama-cpp'];

const closed = [256, 2048].flatMap((context) =>
  [1, 8].flatMap((x) => [
    ...contestantNames.map((name) => row(name, { load: 'closed', x, context, shared: false })),
    ...keepers.map((name) => row(name, { load: 'closed', x, context, shared: true })),
  ]),
);
const open = [1, 2].flatMap((x) =>
  contestantNames.map((name) => row(name, { load: 'open', x, context: 128, shared: false })),
);

const result: ServeResult = {
  format: 1,
  date: '2026-11-30T08:00:00.000Z',
  seconds: 100,
  command: '--users 1,8',
  machine: {
    cpu: 'Some <CPU> (family 1, model 2)',
    cores: 2,
    threads: 2,
    isa: 'avx2',
    caches: 'L2 512K',
    memory: 2 ** 33,
    hugePages: 'madvise',
    system: 'linux-x64 6.1',
    node: 'v20.20.0',
    package: '0.2.0',
    onnxRuntime: '1.30.0',
    commit: null,
    load: 0.1,
  },
  rows: [...closed, ...open],
};

const htmlOf = (result: ServeResult): string => pageOf(servePage(result), style);

/** The page, parsed again. */
const documentOf = (result: ServeResult): Document => parseHTML(htmlOf(result)).document;

const textsOf = (within: ParentNode, selector: string): string[] =>
  [...within.querySelectorAll(selector)].map(({ textContent }) => textContent ?? '');

function sectionOf(page: Document, title: string): Element {
  const found = [...page.querySelectorAll('section')].find(
    (section) => section.querySelector('h2')?.textContent === title,
  );
  if (!found) throw new Error(`there is no section '${title}'`);
  return found;
}

const namesOf = (within: ParentNode): (string | null)[] =>
  [...within.querySelectorAll('[role=img]')].map((picture) => picture.getAttribute('aria-label'));

describe('the page of a whole result', () => {
  const html = htmlOf(result);
  const page = documentOf(result);
  const section = (title: string) => sectionOf(page, title);

  test('runs no script and asks for nothing', () => {
    expect(html.replace(icon, '')).not.toMatch(
      /<script|<link|<img|url\(|src=|href=|\son\w+=|@import/,
    );
    expect(html).not.toMatch(/NaN|undefined|Infinity|null/);
    expect(html).toContain('Some &lt;CPU&gt;');
    expect(textsOf(page, 'footer')).toEqual([
      'Measured in 2 min by npm run bench:serve -- --users 1,8.',
    ]);
  });

  test('every section has words, pictures with names of their own, and its figures', () => {
    expect(textsOf(page, 'h2')).toEqual([
      'Tokens per second',
      'Time to first token',
      'Time per token',
      'Requests that do not wait for each other',
      'A shared system prompt',
      'Memory',
    ]);
    for (const each of page.querySelectorAll('section')) {
      expect(each.querySelector('p')?.textContent).toMatch(/\.$/);
      const names = namesOf(each);
      expect(names).not.toEqual([]);
      expect(new Set(names).size).toBe(names.length);
      expect(each.querySelectorAll('details tbody tr').length).toBeGreaterThan(0);
    }
  });

  test('tokens per second over users, for each context', () => {
    expect(namesOf(section('Tokens per second'))).toEqual([
      'Context 256, prompts included: tokens per second over users',
      'Context 256, decoding: tokens per second over users',
      'Context 2048, prompts included: tokens per second over users',
      'Context 2048, decoding: tokens per second over users',
    ]);
    const [first] = section('Tokens per second').querySelectorAll('figure');
    const tips = textsOf(first, 'circle title');
    expect(tips).toHaveLength(2 * contestantNames.length);
    expect(tips.slice(0, 2)).toEqual([
      'flash-attention-serve, engine\n1 user\n100 tokens/s',
      'flash-attention-serve, engine\n8 users\n800 tokens/s',
    ]);
  });

  test('latencies over users: median and p99', () => {
    expect(namesOf(section('Time to first token'))).toEqual([
      'Context 256, median: time to first token over users',
      'Context 256, p99: time to first token over users',
      'Context 2048, median: time to first token over users',
      'Context 2048, p99: time to first token over users',
    ]);
    expect(namesOf(section('Time per token'))).toContain(
      'Context 2048, p99: time per token over users',
    );
    const figures = section('Time to first token').querySelectorAll('figure');
    const firstOf = (figure: Element) => textsOf(figure, 'circle title')[0].split('\n')[2];
    expect([...figures].map(firstOf)).toEqual(['256 ms', '768 ms', '2.05 s', '6.14 s']);
  });

  test('an open loop over the rate', () => {
    const names = namesOf(section('Requests that do not wait for each other'));
    expect(names).toEqual([
      'Context 128, first token, median: time to first token over requests per second',
      'Context 128, first token, p99: time to first token over requests per second',
      'Context 128, answer, median: time to the end of the answer over requests per second',
      'Context 128, answer, p99: time to the end of the answer over requests per second',
    ]);
  });

  test('a shared prompt beside one of its own, with how much sooner it answers', () => {
    const shared = section('A shared system prompt');
    expect(namesOf(shared)).toEqual([
      'Context 256, 1 user: first token',
      'Context 256, 8 users: first token',
      'Context 2048, 1 user: first token',
      'Context 2048, 8 users: first token',
    ]);
    const texts = textsOf(shared.querySelectorAll('figure')[2], 'text');
    for (const name of keepers) {
      expect(texts).toContain(`${titles[name]}, own`);
      expect(texts).toContain(`${titles[name]}, shared`);
    }
    expect(texts).toEqual(expect.arrayContaining(['2.05 s', '102 ms, 20.0x']));
  });

  test('memory of every contestant with the most users', () => {
    expect(namesOf(section('Memory'))).toEqual([
      'Context 256, 8 users: peak memory',
      'Context 2048, 8 users: peak memory',
    ]);
    const [figure] = section('Memory').querySelectorAll('figure');
    const texts = textsOf(figure, 'text');
    for (const name of contestantNames) expect(texts).toContain(titles[name]);
    expect(texts).toEqual(expect.arrayContaining(['256 MiB', '1.50 GiB']));
  });

  test('every contestant is in every legend, in a colour of its own', () => {
    const own = contestantNames.map((name) => colorOf(titles[name]));
    expect(new Set(own).size).toBe(contestantNames.length);
    expect(own).not.toContain('other');
    const withLegend = [...page.querySelectorAll('figure')].filter((figure) =>
      figure.querySelector('.plot-swatch'),
    );
    expect(withLegend).toHaveLength(4 + 4 + 4 + 4);
    for (const figure of withLegend) {
      expect(textsOf(figure, '.plot-swatch')).toEqual(contestantNames.map((name) => titles[name]));
    }
  });

  test('the tables have every row once, ours marked', () => {
    const rowsIn = (title: string, selector = 'tbody tr') =>
      section(title).querySelectorAll(selector).length;
    const own = closed.filter(({ shared }) => !shared);
    expect(rowsIn('Tokens per second')).toBe(own.length);
    expect(rowsIn('Tokens per second', 'tr.own')).toBe(own.length / 3);
    expect(rowsIn('A shared system prompt')).toBe(closed.length - own.length);
    expect(rowsIn('Requests that do not wait for each other')).toBe(open.length);
    const [line] = section('Memory').querySelectorAll('tbody tr');
    expect(textsOf(line, 'td')).toEqual([...['1 user', titles.engine, '6', '256 MiB', '2.00 ms']]);
  });

  test('the headlines are of the most users, beside the fastest other', () => {
    expect(textsOf(page, '.headlines p')).toEqual([
      '3.00xtokens/s, to the fastest other (onnxruntime-node, as usual), 8 users at 256',
      '3.00xtokens/s, to the fastest other (onnxruntime-node, as usual), 8 users at 2048',
    ]);
  });
});

describe('the page of less', () => {
  test('of --figures says what is asked, and what does not hold', () => {
    const figure = { what: 'a ratio', asked: 3, range: [2, 4] as const };
    const page = documentOf({
      ...result,
      rows: closed,
      figures: [
        { ...figure, measured: 3.5, holds: true },
        { ...figure, measured: 2.5, holds: false },
      ],
    });
    const section = sectionOf(page, 'What the server is held to');
    expect(section.querySelector('p')?.textContent).toContain('1 of 2 are what is asked');
    expect(textsOf(section, 'td:last-child')).toEqual(['yes', 'no']);
    expect(textsOf(page, '.headlines strong')).toEqual(['3.50x', '2.50x']);
  });

  test('of one load, one contestant and answers of one token has no chart of what is not there', () => {
    const one: ServeRow = {
      ...row('engine', { load: 'closed', x: 2, context: 128, shared: false }),
      ...{ decodeTokensPerSecond: undefined, perToken: undefined, peakMemory: undefined },
    };
    const page = documentOf({ ...result, rows: [one] });
    expect(namesOf(page)).toEqual([
      'Context 128, prompts included: tokens per second over users',
      'Context 128, median: time to first token over users',
      'Context 128, p99: time to first token over users',
    ]);
    expect(textsOf(sectionOf(page, 'Time per token'), 'td')).toEqual(
      expect.arrayContaining(['2 users', titles.engine, '–']),
    );
  });

  test('of one load has a point for each contestant, and not the mark of a warning of Plot', () => {
    const html = htmlOf({ ...result, rows: open.filter(({ x }) => x === 1) });
    expect(html.match(/<circle /g)).toHaveLength(4 * contestantNames.length);
    expect(html).not.toContain('⚠');
  });

  test('of an open loop alone has no section of closed ones', () => {
    const page = documentOf({ ...result, rows: open });
    expect(textsOf(page, 'h2')).toEqual(['Requests that do not wait for each other']);
  });
});

describe('a result on disk', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'serve-report-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('makes a page of the same words and figures', () => {
    const file = path.join(folder, 'result.json');
    writeResult(file, result);
    // Numbers are rounded in the file, so that marks may be a millionth of a pixel elsewhere.
    const wordsOf = (of: ServeResult) => textsOf(documentOf(of), 'h1, h2, h3, p, dd, td, title');
    expect(wordsOf(readServeResult(file))).toEqual(wordsOf(result));
  });

  test('says how it is measured again, wherever its files went', () => {
    const args = ['--json', 'a.json', '--users', '1,8', '--html', '--install-peers', '--no-shared'];
    expect(commandOf(args)).toBe('--users 1,8 --no-shared');
  });

  test('of another benchmark is refused', () => {
    const file = path.join(folder, 'other.json');
    writeResult(file, { ...result, rows: [{ ...result.rows[0], suite: 'forward' }] });
    expect(() => readServeResult(file)).toThrow('no result of npm run bench:serve');
  });

  const kept = path.join(root, 'serve/bench/results');
  for (const name of existsSync(kept) ? readdirSync(kept) : []) {
    test(`${name} is drawn`, () => {
      const html = htmlOf(readServeResult(path.join(kept, name)));
      expect(html).toContain('role="img"');
      expect(html).not.toMatch(/NaN|undefined|Infinity/);
    });
  }
});
