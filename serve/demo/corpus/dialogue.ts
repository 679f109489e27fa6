import { animalsBySize, factTables, names, smallTalk, words } from './facts.js';
import { tellStory, storyHeroes } from './story.js';
import type { Random } from '../random.js';

/** A question, or something else that a user says, and the answer. */
export interface Turn {
  readonly user: string;
  readonly assistant: string;
}

/** Dialogues to learn from, or others with questions that those never have. */
export type Split = 'training' | 'validation';

/** One in eight ways of putting a question is kept for validation, by its text. */
function splitOf(question: string): Split {
  let hash = 0x811c9dc5; // FNV-1a
  for (const letter of question) {
    hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193);
  }
  return (hash >>> 8) % 8 === 0 ? 'validation' : 'training';
}

/** What was said before in a dialogue, as far as answers depend on it. */
interface Memory {
  name?: string;
}

type Topic = (random: Random, memory: Memory) => Turn;

const capital = (text: string) => text[0].toUpperCase() + text.slice(1);

const fact: Topic = (random) => {
  const { ask, answer, facts } = random.one(factTables);
  const [key, value] = random.one(Object.entries(facts));
  const assistant = capital(answer.replace('%', key).replace('$', value));
  return { user: random.one(ask).replace('%', key), assistant };
};

const talk: Topic = (random) => {
  const { ask, answer } = random.one(smallTalk);
  return { user: random.one(ask), assistant: answer };
};

const sum: Topic = (random) => {
  const [a, b] = [random.integer(0, 10), random.integer(0, 10)];
  const user = random.one(['What is % plus $?', 'How much is % plus $?', 'Add % and $.']);
  return {
    user: user.replace('%', `${a}`).replace('$', `${b}`),
    assistant: `${a} plus ${b} is ${a + b}.`,
  };
};

const count: Topic = (random) => {
  const from = random.integer(1, 9);
  const to = from + random.integer(2, 6);
  const numbers = Array.from({ length: to - from + 1 }, (_, n) => from + n);
  const user = random.one([`Count from ${from} to ${to}.`, `Can you count from ${from} to ${to}?`]);
  return { user, assistant: `${numbers.join(', ')}.` };
};

const larger: Topic = (random) => {
  const [a, b] = [random.integer(0, animalsBySize.length - 1), random.integer(1, 13)];
  const other = (a + b) % animalsBySize.length;
  const [one, two] = [animalsBySize[a], animalsBySize[other]];
  const says = a > other ? ['Yes', 'bigger'] : ['No', 'smaller'];
  return {
    user: `Is ${one} bigger than ${two}?`,
    assistant: `${says[0]}, ${one} is ${says[1]} than ${two}.`,
  };
};

const repeat: Topic = (random) => {
  const word = random.one(words);
  const user = random.one([`Say ${word}.`, `Please say ${word}.`, `Repeat the word ${word}.`]);
  return { user, assistant: `${capital(word)}.` };
};

const introduce: Topic = (random, memory) => {
  const name = random.one(names);
  memory.name = name;
  const user = random.one([`My name is ${name}.`, `I am ${name}.`, `Hello, I am ${name}.`]);
  return { user, assistant: `Hello, ${name}!` };
};

const recall: Topic = (random, { name }) => ({
  user: random.one(['What is my name?', 'Who am I?', 'Do you know my name?']),
  assistant: name ? `Your name is ${name}.` : 'You have not told me your name.',
});

const story: Topic = (random) => {
  const hero = random.one(storyHeroes);
  const user = random.one([
    ...[`Tell me a story about a ${hero}.`, `A story about a ${hero}, please.`],
    ...['Tell me a story.', `Do you know a story about a ${hero}?`],
  ]);
  return { user, assistant: tellStory(hero, random) };
};

/** Topics, as often as they come up. */
const topics: readonly Topic[] = [
  ...[fact, fact, fact, fact, fact, fact, talk, talk, sum, sum, count, larger, repeat],
  ...[introduce, recall, story],
];

/** As people type: one in four leaves out capitals and what ends a sentence. */
function typed(text: string, random: Random): string {
  return random.next() < 0.25 ? text.toLowerCase().replace(/[.?!]$/, '') : text;
}

/** A dialogue of one to ten turns. */
export function drawDialogue(random: Random, split: Split): Turn[] {
  const memory: Memory = {};
  return Array.from({ length: random.integer(1, 10) }, () => {
    for (;;) {
      const before = { ...memory };
      const { user, assistant } = random.one(topics)(random, memory);
      if (splitOf(user) === split) return { user: typed(user, random), assistant };
      memory.name = before.name;
    }
  });
}
