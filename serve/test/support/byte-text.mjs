// Plain JavaScript, so that worker threads can load it.

export const ids = { bos: 256, turn: 257, end: 258, word: 259 };
export const vocabSize = 260;
export const chatTemplate = '{{ messages }}';

const special = new Map([
  [ids.bos, '<|bos|>'],
  [ids.turn, '<|turn|>'],
  [ids.end, '<|end|>'],
]);
const word = 'wörld';
const encoder = new TextEncoder();

const vocabulary = {
  size: vocabSize,
  bytes(token) {
    if (token < 256) return Uint8Array.of(token);
    return encoder.encode(token === ids.word ? word : (special.get(token) ?? ''));
  },
  isSpecial: (token) => special.has(token),
  idOf: (content) => {
    if (content === word) return ids.word;
    return [...special].find(([, text]) => text === content)?.[0];
  },
  longest: 8,
};

/** Text that begins so takes a second to encode: what a tokenizer needs for some megabytes. */
const slow = 'slow:';

function bytesOf(text) {
  if (text.startsWith(slow)) {
    const end = performance.now() + 1000;
    while (performance.now() < end);
  }
  return encoder.encode(text);
}

/** The class travels by its name: this module is loaded apart from the sources. */
const refusal = (message) => Object.assign(new Error(message), { name: 'ChatTemplateError' });

export async function loadModelText() {
  return {
    vocabulary,
    chatTemplate,
    encode: (text) => Int32Array.from([ids.bos, ...bytesOf(text)]),
    encodeChat: ({ messages }) => {
      if (messages.slice(1).some(({ role }) => role === 'system')) {
        throw refusal('System messages come first!');
      }
      const turns = messages.map(({ content }) => [ids.turn, ...bytesOf(content), ids.end]);
      return Int32Array.from([ids.bos, ...turns.flat(), ids.turn]);
    },
  };
}
