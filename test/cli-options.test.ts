import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command, CommanderError } from 'commander';
import { CliError } from '../lib/cli/cli-error.js';
import { hasColor, showBytes, showError, showSeconds } from '../lib/cli/format.js';
import { toJson } from '../lib/cli/json.js';
import { planOutputs } from '../lib/cli/outputs.js';
import { addRunOptions, attentionOptions, type RunOptions } from '../lib/cli/run-options.js';
import { scratchFolder } from './support/cli.js';

/** The options of `run` as commander makes them of a command line. */
function parse(...args: string[]): RunOptions {
  const command = addRunOptions(new Command('run').argument('<files...>'));
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  return command.parse(['q', 'k', 'v', ...args], { from: 'user' }).opts<RunOptions>();
}

function refusal(...args: string[]): string {
  try {
    parse(...args);
  } catch (error) {
    expect(error).toBeInstanceOf(CommanderError);
    return (error as Error).message;
  }
  throw new Error(`${args.join(' ')} was accepted`);
}

describe('options of run', () => {
  test('by default say nothing but the layout', () => {
    expect(attentionOptions(parse())).toEqual({ layout: 'bshd' });
    expect(parse()).toMatchObject({ repeat: 1, qName: 'q', kName: 'k', vName: 'v' });
  });

  test('become the options of flashAttention', () => {
    const options = parse(
      ...['--layout', 'bhsd', '--causal', '--window', '128,0', '--sink-tokens', '4'],
      ...['--softcap', '50', '--scale', '-0.125', '--num-splits', '8', '--dtype', 'bfloat16'],
    );
    expect(attentionOptions(options)).toEqual({
      layout: 'bhsd',
      causal: true,
      window: [128, 0],
      sinkTokens: 4,
      softcap: 50,
      scale: -0.125,
      numSplits: 8,
    });
    expect(options.dtype).toBe('bfloat16');
    expect(attentionOptions(parse('--num-splits', 'auto')).numSplits).toBe('auto');
  });

  test.each<[string, [number, number]]>([
    ['1024,0', [1024, 0]],
    ['-3,5', [-3, 5]],
    [' 7 , -2 ', [7, -2]],
    ['inf,0', [Infinity, 0]],
    ['Infinity,INF', [Infinity, Infinity]],
  ])('window %p', (text, bounds) => {
    expect(parse('--window', text).window).toEqual(bounds);
  });

  test.each(['', '5', '1,2,3', '1.5,0', 'a,b', ',', '1e3,0', '-inf,0'])('no window: %p', (text) => {
    expect(refusal('--window', text)).toMatch(/left,right/);
  });

  test.each<[string, string]>([
    ['--repeat', '0'],
    ['--repeat', 'x'],
    ['--sink-tokens', '-1'],
    ['--num-splits', '0'],
    ['--num-splits', '1.5'],
    ['--softcap', 'inf'],
    ['--scale', ''],
    ['--layout', 'sbhd'],
    ['--dtype', 'float64'],
  ])('%s refuses %p and is named in the message', (flag, text) => {
    expect(refusal(flag, text)).toContain(`option '${flag}`);
  });

  test('unknown ones are refused with a suggestion', () => {
    expect(refusal('--casual')).toMatch(/unknown option '--casual'\s+\(Did you mean --causal\?\)/);
  });
});

describe('output files', () => {
  const plan = (out?: string, lse?: string) => {
    const { files, wantsLse } = planOutputs(out, lse, []);
    return [Object.fromEntries(files), wantsLse];
  };

  test('hold what their names allow', () => {
    expect(plan()).toEqual([{}, false]);
    expect(plan('o.npy')).toEqual([{ 'o.npy': ['out'] }, false]);
    expect(plan('o.npy', 'l.npy')).toEqual([{ 'o.npy': ['out'], 'l.npy': ['lse'] }, true]);
    expect(plan(undefined, 'l.npy')).toEqual([{ 'l.npy': ['lse'] }, true]);
    expect(plan('o.safetensors')).toEqual([{ 'o.safetensors': ['out', 'lse'] }, true]);
    const split = { 'o.safetensors': ['out'], 'l.safetensors': ['lse'] };
    expect(plan('o.safetensors', 'l.safetensors')).toEqual([split, true]);
    expect(plan('x.safetensors', 'x.safetensors')).toEqual([
      { 'x.safetensors': ['out', 'lse'] },
      true,
    ]);
  });

  test('are refused before any work is done', () => {
    expect(() => plan('o.npz')).toThrow('--out o.npz: expected a name that ends in .npy');
    expect(() => plan('o.npy', 'lse')).toThrow('--lse lse: expected');
    expect(() => plan('x.npy', 'x.npy')).toThrow('a .npy file holds one array');
    expect(() => plan('x.npy', './x.npy')).toThrow('a .npy file holds one array');
    const both = ['out', 'lse'];
    const shared = plan('x.safetensors', `${process.cwd()}/x.safetensors`);
    expect(shared).toEqual([{ 'x.safetensors': both }, true]);
  });

  describe('are looked at where they shall go', () => {
    const { folder, done } = scratchFolder();
    afterAll(done);
    const at = (name: string) => path.join(folder, name);
    writeFileSync(at('q.npy'), 'q');
    writeFileSync(at('old.npy'), 'old');
    symlinkSync('q.npy', at('link.npy'));
    linkSync(at('q.npy'), at('hard.npy'));
    mkdirSync(at('folder.npy'));
    symlinkSync(folder, at('here'));
    symlinkSync('nowhere.npy', at('dangling.npy'));

    test.each<[string, string, RegExp]>([
      ['in no folder', 'no/out.npy', /--out .*no\/out\.npy: no such file, for there is no folder/],
      ['below a file', 'q.npy/out.npy', /q\.npy is no folder/],
      ['a folder', 'folder.npy', /is a folder/],
      ['an input', 'q.npy', /is the input .*q\.npy, which it would replace/],
      ['an input through a link', 'link.npy', /is the input/],
      ['an input by its other name', 'hard.npy', /is the input/],
      ['an input through a linked folder', 'here/q.npy', /is the input/],
    ])('%s', (_, name, message) => {
      expect(() => planOutputs(at(name), undefined, [at('q.npy')])).toThrow(message);
      expect(() => planOutputs(undefined, at(name), ['-', at('q.npy')])).toThrow(CliError);
    });

    test('and may replace what is no input', () => {
      for (const name of ['old.npy', 'new.npy', 'here/old.npy', 'dangling.npy']) {
        expect(planOutputs(at(name), undefined, [at('q.npy')]).files.size).toBe(1);
      }
    });

    test('one file under two names is one file', () => {
      expect(() => planOutputs(at('old.npy'), at('here/old.npy'), [])).toThrow(
        /is the file of --out/,
      );
      expect(() => planOutputs(at('new.npy'), at('here/new.npy'), [])).toThrow(
        /is the file of --out/,
      );
    });
  });
});

describe('what is printed', () => {
  test('numbers have three digits and fitting units', () => {
    expect([0, 1023, 1024, 88_080_384, 2 ** 31].map(showBytes)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1.00 KiB',
      '84.0 MiB',
      '2.00 GiB',
    ]);
    expect([4.2e-5, 0.0123, 0.99951, 1.5, 123.4].map(showSeconds)).toEqual([
      '42.0 µs',
      '12.3 ms',
      '1.00 s',
      '1.50 s',
      '123 s',
    ]);
    expect([0, 0.00123, Infinity].map(showError)).toEqual(['0', '1.2e-3', 'Infinity']);
  });

  test('JSON keeps what JSON has no number for', () => {
    expect(JSON.parse(toJson({ window: [Infinity, 0], nan: Number.NaN }))).toEqual({
      window: ['Infinity', 0],
      nan: 'NaN',
    });
  });

  test('colour is for terminals, unless the environment says otherwise', () => {
    const terminal = { isTTY: true, hasColors: () => true };
    expect(hasColor(terminal, {})).toBe(true);
    expect(hasColor({ ...terminal, hasColors: () => false }, {})).toBe(false);
    expect(hasColor({}, {})).toBe(false);
    expect(hasColor(terminal, { NO_COLOR: '1' })).toBe(false);
    expect(hasColor({}, { FORCE_COLOR: '1' })).toBe(true);
    expect(hasColor(terminal, { FORCE_COLOR: '0' })).toBe(false);
    expect(hasColor(terminal, { FORCE_COLOR: '1', NO_COLOR: '1' })).toBe(false);
  });
});
