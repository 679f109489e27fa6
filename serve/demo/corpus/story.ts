import type { Random } from '../random.js';

const heroes = [
  'fox',
  'bear',
  'mouse',
  'wolf',
  'cat',
  'dog',
  'frog',
  'horse',
  'king',
  'girl',
  'boy',
];
const natures = ['little', 'old', 'clever', 'lazy', 'brave', 'hungry', 'lonely'];
const places = ['the forest', 'a small house', 'a deep cave', 'a village', 'the hills'];
const friends = ['raven', 'rabbit', 'turtle', 'goose', 'farmer', 'baker', 'miller'];
const things = ['a golden key', 'a red apple', 'a silver bell', 'a warm coat', 'a sweet cake'];

/** Who a story may be about. */
export const storyHeroes: readonly string[] = heroes;

/** A story of a few sentences. Who and what it is about stays the same to its end. */
export function tellStory(hero: string, random: Random): string {
  const one = <T>(of: readonly T[]) => random.one(of);
  const [thing, friend] = [one(things), one(friends)];
  const it = thing.replace(/^a/, 'the');
  const nature = one(natures);
  const finds = one([
    `One day the ${hero} found ${thing} by the river.`,
    `One day a ${friend} came and gave the ${hero} ${thing}.`,
    `One night the ${hero} dreamed of ${thing}.`,
  ]);
  const then = finds.includes(friend)
    ? one([`They became friends.`, `The ${hero} thanked the ${friend}.`])
    : `The ${hero} showed ${it} to a ${friend}. ${one([
        `"Let us share it," said the ${friend}.`,
        `"That is mine," said the ${friend}, but the ${hero} only laughed.`,
      ])}`;
  const end = one([
    `And so the ${hero} was never ${nature === 'lonely' ? 'alone' : 'sad'} again.`,
    `They kept ${it} for many years.`,
    `From that day on the ${hero} and the ${friend} lived together.`,
  ]);
  return `Once upon a time there was a ${nature} ${hero} who lived in ${one(places)}. ${finds} ${then} ${end}`.replaceAll(
    /\ba (?=old\b)/g,
    'an ',
  );
}
