// Loaded into every thread of the server: V8 puts off what it could free while there is room.
const { gc } = globalThis;
if (gc === undefined) throw new Error('--expose-gc is missing');
setInterval(() => void gc(), 2000).unref();
