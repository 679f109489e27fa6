import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ModelError } from './model-error.js';

export type Json = Record<string, unknown>;

/** A JSON object of a model's folder. @throws {@link ModelError} when it is missing or broken. */
export function readJson(folder: string, file: string): Json {
  const found = readJsonIfAny(folder, file);
  if (found === undefined) throw new ModelError(`${file} is missing`);
  return found;
}

/** @throws {@link ModelError} when it is there and broken. */
export function readJsonIfAny(folder: string, file: string): Json | undefined {
  const name = path.join(folder, file);
  if (!existsSync(name)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(name, 'utf8'));
  } catch (error) {
    throw new ModelError(`${file} is no JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw new ModelError(`${file} is no JSON object`);
  return value;
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A member that is an object; an empty one else. */
export function objectIn(json: Json | undefined, key: string): Json {
  const value = json?.[key];
  return isObject(value) ? value : {};
}

export function numberIn(json: Json | undefined, ...keys: string[]): number | undefined {
  for (const key of keys) {
    const value = json?.[key];
    if (typeof value === 'number' && Number.isFinite(value)) return value;
  }
  return undefined;
}
