import { type StepGroup, StepGroups } from '../../src/cluster/worker/step-groups.js';

function told(steps: readonly (readonly [tokens: number, milliseconds: number])[]): StepGroup[] {
  const all: StepGroup[] = [];
  const groups = new StepGroups(1000, (group) => all.push(group));
  let now = 1000;
  for (const [tokens, milliseconds] of steps) {
    now += milliseconds;
    groups.add(tokens, now);
  }
  groups.end();
  return all;
}

describe('steps in groups', () => {
  test('are told as each group of 1, 2, 4, … is whole, what is left at the end', () => {
    const steps = [
      [1, 0],
      [1, 20],
      [3, 35],
      [1, 10],
    ] as const;
    expect(told(steps)).toEqual([
      { steps: 1, tokens: 1, milliseconds: 0, longestMilliseconds: 0 },
      { steps: 2, tokens: 4, milliseconds: 55, longestMilliseconds: 35 },
      { steps: 1, tokens: 1, milliseconds: 10, longestMilliseconds: 10 },
    ]);
  });

  test('of none, nothing is told', () => {
    expect(told([])).toEqual([]);
  });

  test('a million steps are twenty events, and no step is missing', () => {
    const groups = told(Array.from({ length: 1_000_000 }, () => [2, 1] as const));
    expect(groups).toHaveLength(20);
    expect(groups.slice(0, 5).map(({ steps }) => steps)).toEqual([1, 2, 4, 8, 16]);
    const sum = (name: keyof StepGroup) => groups.reduce((all, group) => all + group[name], 0);
    expect([sum('steps'), sum('tokens'), sum('milliseconds')]).toEqual([1e6, 2e6, 1e6]);
  });
});
