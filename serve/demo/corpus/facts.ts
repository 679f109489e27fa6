/** Questions that differ in one word, all of which have an answer. */
export interface FactTable {
  /** Ways to ask; `%` stands for the key. */
  readonly ask: readonly string[];
  /** `%` stands for the key, `$` for the value. Begins with a capital letter. */
  readonly answer: string;
  readonly facts: Readonly<Record<string, string>>;
}

const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September'],
  ...['October', 'November', 'December'],
];

/** Each of a ring with the one `by` places on. */
function ring(names: readonly string[], by: number): Record<string, string> {
  const at = (n: number) => names[(n + by + names.length) % names.length];
  return Object.fromEntries(names.map((name, n) => [name, at(n)]));
}

export const factTables: readonly FactTable[] = [
  {
    ask: ['What colour is %?', 'Which colour is %?', 'What is the colour of %?'],
    answer: '% is $.',
    facts: {
      ...{ grass: 'green', snow: 'white', coal: 'black', milk: 'white', blood: 'red' },
      ...{ chocolate: 'brown', gold: 'yellow', silver: 'grey', honey: 'yellow', ink: 'blue' },
      ...{ salt: 'white', rice: 'white', butter: 'yellow', mud: 'brown', smoke: 'grey' },
      ...{ 'the sky': 'blue', 'the sea': 'blue', 'the sun': 'yellow', 'the moon': 'white' },
      ...{ 'a lemon': 'yellow', 'a tomato': 'red', 'a carrot': 'orange', 'a leaf': 'green' },
      ...{ 'a banana': 'yellow', 'a cherry': 'red', 'a frog': 'green', 'a flamingo': 'pink' },
      ...{ 'an orange': 'orange', 'an elephant': 'grey', 'a raven': 'black', 'a swan': 'white' },
    },
  },
  {
    ask: ['What does a % say?', 'Which sound does a % make?', 'How does a % sound?'],
    answer: 'A % says $.',
    facts: {
      ...{ cow: 'moo', dog: 'woof', cat: 'meow', sheep: 'baa', duck: 'quack', pig: 'oink' },
      ...{ horse: 'neigh', bee: 'buzz', lion: 'roar', mouse: 'squeak', hen: 'cluck' },
      ...{ frog: 'croak', snake: 'hiss', wolf: 'howl', bird: 'tweet', donkey: 'hee-haw' },
    },
  },
  {
    ask: ['Where does a % live?', 'What is the home of a %?', 'Where do I find a %?'],
    answer: 'A % lives in $.',
    facts: {
      ...{ fish: 'water', bear: 'a cave', bee: 'a hive', bird: 'a nest', fox: 'a den' },
      ...{ horse: 'a stable', dog: 'a kennel', rabbit: 'a burrow', spider: 'a web' },
      ...{ camel: 'the desert', whale: 'the sea', monkey: 'the jungle', cow: 'a barn' },
      ...{ lion: 'the savanna', penguin: 'the cold south', wolf: 'the forest', king: 'a castle' },
    },
  },
  {
    ask: ['What is a young % called?', 'What is the name of a young %?', 'What is a baby %?'],
    answer: 'A young % is called a $.',
    facts: {
      ...{ dog: 'puppy', cat: 'kitten', cow: 'calf', horse: 'foal', sheep: 'lamb', hen: 'chick' },
      ...{ pig: 'piglet', duck: 'duckling', goose: 'gosling', goat: 'kid', bear: 'cub' },
      ...{ lion: 'cub', frog: 'tadpole', deer: 'fawn', swan: 'cygnet', kangaroo: 'joey' },
    },
  },
  {
    ask: ['How many legs does a % have?', 'How many legs has a %?', 'Count the legs of a %.'],
    answer: 'A % has $ legs.',
    facts: {
      ...{ dog: 'four', cat: 'four', horse: 'four', frog: 'four', bird: 'two', hen: 'two' },
      ...{ spider: 'eight', crab: 'ten', bee: 'six', fly: 'six', beetle: 'six', duck: 'two' },
      ...{ snake: 'no', fish: 'no', whale: 'no', table: 'four', child: 'two', cow: 'four' },
    },
  },
  {
    ask: ['What is the opposite of %?', 'Give me the opposite of %.', 'What is not %?'],
    answer: 'The opposite of % is $.',
    facts: {
      ...{ hot: 'cold', cold: 'hot', big: 'small', small: 'big', fast: 'slow', slow: 'fast' },
      ...{ day: 'night', night: 'day', old: 'new', new: 'old', happy: 'sad', sad: 'happy' },
      ...{ open: 'closed', closed: 'open', wet: 'dry', dry: 'wet', high: 'low', low: 'high' },
      ...{ full: 'empty', empty: 'full', light: 'dark', dark: 'light', good: 'bad', bad: 'good' },
      ...{ left: 'right', right: 'left', rich: 'poor', poor: 'rich', hard: 'soft', soft: 'hard' },
      ...{ up: 'down', down: 'up', long: 'short', short: 'long', loud: 'quiet', quiet: 'loud' },
    },
  },
  {
    ask: ['What is the capital of %?', 'Which city is the capital of %?', 'Name the capital of %.'],
    answer: 'The capital of % is $.',
    facts: {
      ...{ France: 'Paris', Germany: 'Berlin', Italy: 'Rome', Spain: 'Madrid', Japan: 'Tokyo' },
      ...{ England: 'London', Greece: 'Athens', Egypt: 'Cairo', China: 'Beijing', Peru: 'Lima' },
      ...{ Austria: 'Vienna', Poland: 'Warsaw', Sweden: 'Stockholm', Norway: 'Oslo' },
      ...{ Finland: 'Helsinki', Denmark: 'Copenhagen', Ireland: 'Dublin', Portugal: 'Lisbon' },
      ...{ Hungary: 'Budapest', Cuba: 'Havana', Russia: 'Moscow', Canada: 'Ottawa' },
      ...{ Kenya: 'Nairobi', Iceland: 'Reykjavik', Turkey: 'Ankara', Belgium: 'Brussels' },
    },
  },
  {
    ask: ['Which day comes after %?', 'What day is it after %?', 'What follows %?'],
    answer: '$ comes after %.',
    facts: ring(days, 1),
  },
  {
    ask: ['Which day comes before %?', 'What day is it before %?'],
    answer: '$ comes before %.',
    facts: ring(days, -1),
  },
  {
    ask: ['Which month comes after %?', 'What month follows %?'],
    answer: '$ comes after %.',
    facts: ring(months, 1),
  },
  {
    ask: ['Which month comes before %?', 'What month is before %?'],
    answer: '$ comes before %.',
    facts: ring(months, -1),
  },
  {
    ask: ['What is a % for?', 'What do I do with a %?', 'What can I use a % for?'],
    answer: 'You $ with a %.',
    facts: {
      ...{ knife: 'cut', pen: 'write', spoon: 'eat', broom: 'sweep', needle: 'sew' },
      ...{ hammer: 'drive nails', brush: 'paint', key: 'open doors', kettle: 'boil water' },
      ...{ oven: 'bake', saw: 'cut wood', spade: 'dig', towel: 'dry yourself', ball: 'play' },
    },
  },
];

/** From the smallest on. */
export const animalsBySize = [
  ...['an ant', 'a bee', 'a mouse', 'a rat', 'a cat', 'a fox', 'a dog', 'a wolf', 'a pig'],
  ...['a lion', 'a horse', 'a camel', 'an elephant', 'a whale'],
];

/** What is said and answered word by word. */
export const smallTalk: readonly { readonly ask: readonly string[]; readonly answer: string }[] = [
  {
    ask: [
      'Hello.',
      'Hello!',
      'Hi.',
      'Hi!',
      'Good morning.',
      'Good evening.',
      'Hey.',
      'Hello there.',
    ],
    answer: 'Hello! What do you want to know?',
  },
  {
    ask: ['Who are you?', 'What are you?', 'Tell me about yourself.', 'Are you a person?'],
    answer: 'I am a very small language model. I was trained in a few minutes.',
  },
  {
    ask: ['What can you do?', 'What do you know?', 'Help me.', 'What can I ask you?'],
    answer:
      'I know colours, animals, opposites, capitals, days and months. I add and count a little, and I tell stories.',
  },
  {
    ask: ['Thank you.', 'Thanks.', 'Thank you very much.', 'Thanks a lot!'],
    answer: 'You are welcome.',
  },
  { ask: ['Goodbye.', 'Bye.', 'Good night.', 'See you.', 'Farewell.'], answer: 'Goodbye!' },
  { ask: ['How are you?', 'How do you do?', 'Are you well?'], answer: 'I am well, thank you.' },
  {
    ask: ['How do you work?', 'How do you think?', 'What is inside you?'],
    answer: 'I read all words so far and guess the next one, again and again.',
  },
  {
    ask: [
      ...['What is the weather like?', 'Who wrote Hamlet?', 'How old is the world?'],
      ...['What is love?', 'Who is the president?', 'Write me a program.', 'What time is it?'],
      ...['Where am I?', 'What is the capital of Mars?', 'What is the meaning of life?'],
      ...['How far is the moon?', 'Who won the game?', 'What is on television?', 'Why?'],
      ...['What is seven times eight?', 'Do you like music?', 'What is a quark?'],
      ...['What is the price of bread?', 'Can you cook?', 'Translate this for me.'],
    ],
    answer: 'I do not know that. I am very small.',
  },
];

export const names = [
  ...['Anna', 'Ben', 'Clara', 'David', 'Emma', 'Felix', 'Grace', 'Henry', 'Ida', 'Jack', 'Kate'],
  ...['Leo', 'Mary', 'Noah', 'Olga', 'Paul', 'Rosa', 'Sam', 'Tom', 'Vera', 'Will', 'Zoe'],
];

export const words = [
  ...[
    'apple',
    'bread',
    'river',
    'stone',
    'cloud',
    'garden',
    'winter',
    'window',
    'bridge',
    'candle',
  ],
  ...['forest', 'island', 'mirror', 'paper', 'silver', 'summer', 'thunder', 'village', 'water'],
];
