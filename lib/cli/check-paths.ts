// Whether the results can be written where they shall go, and destroy nothing that is still needed.
import { accessSync, constants, fstatSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { CliError, messageOf } from './cli-error.js';
import { standardInput } from './files.js';

/** A file that is to be written, and the option that says so. */
export interface OutputPath {
  readonly option: string;
  readonly path: string;
}

/**
 * Throws unless every output can be made or replaced and is no input. Links are followed: what
 * counts is the file that they lead to.
 */
export function checkOutputPaths(outputs: readonly OutputPath[], inputs: readonly string[]): void {
  for (const { option, path: file } of outputs) {
    const there = checkWritable(option, file);
    const input = there && inputs.find((each) => isSame(there, statOf(each)));
    if (input !== undefined) {
      const which = input === standardInput ? 'the file on standard input' : `the input ${input}`;
      throw new CliError(`${option} ${file}: is ${which}, which it would replace`);
    }
  }
}

/** Whether both paths lead to one file, there or still to be made. */
export function isSamePath(a: string, b: string): boolean {
  const [first, second] = [statOf(a), statOf(b)];
  if (first && second) return isSame(first, second);
  if (first || second || path.basename(a) !== path.basename(b)) return false;
  const [one, two] = [statOf(path.dirname(a)), statOf(path.dirname(b))];
  return one !== undefined && isSame(one, two);
}

/** The state of the file, where there is one already. */
function checkWritable(option: string, file: string): Stats | undefined {
  const refuse = (what: string): never => {
    throw new CliError(`${option} ${file}: ${what}`);
  };
  const folder = path.dirname(path.resolve(file));
  const place = statOf(folder);
  if (!place) return refuse(`no such file, for there is no folder ${folder}`);
  if (!place.isDirectory()) return refuse(`${folder} is no folder`);
  const there = statOf(file);
  if (there?.isDirectory()) return refuse('is a folder');
  if (there && !there.isFile()) return refuse('is no regular file');
  // A new file takes the place of the old one: the folder has to let it, and so should the old one.
  for (const each of there ? [folder, file] : [folder]) {
    try {
      accessSync(each, constants.W_OK);
    } catch (error) {
      refuse(each === folder ? `${folder}: ${messageOf(error)}` : messageOf(error));
    }
  }
  return there;
}

function statOf(file: string): Stats | undefined {
  try {
    return file === standardInput ? fstatSync(0) : statSync(file);
  } catch {
    return undefined;
  }
}

const isSame = (a: Stats, b: Stats | undefined): boolean => a.dev === b?.dev && a.ino === b.ino;
