// `toEqual` compares two typed arrays element by element, by key: a microsecond each. Equal bytes
// of one type are equal without that; the rest is left to `toEqual`.
const bytesOf = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength);
const typeOf = (view) => Object.prototype.toString.call(view);

expect.addEqualityTesters([
  (a, b) => {
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
    return typeOf(a) === typeOf(b) && bytesOf(a).equals(bytesOf(b)) ? true : undefined;
  },
]);
