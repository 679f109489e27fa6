/** What is wrong with a model's folder; the message names the file, never the path to the folder. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}
