/**
 * What a server of language models needs beside attention: keys and values in pages that are
 * appended to in place, batches whose sequences differ in everything, rotary position embedding.
 *
 * @packageDocumentation
 */
export { flashAttentionRagged, type RaggedAttentionOptions } from '../attention/ragged.js';
export { type AppendedPages, type AppendOptions, appendKv } from './append.js';
export { applyRotary, type RotaryOptions, type RotaryTables } from './rotary.js';
