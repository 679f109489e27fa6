const longest = 4;
const shortest = 2;

/**
 * Guesses how tokens go on: as they did after the latest place where their last n-gram stood
 * before (prompt lookup decoding, Saxena 2023). Longer n-grams first.
 *
 * @returns at most `most` ids; none where no n-gram of two tokens or more stood before.
 */
export function promptLookup(tokens: Int32Array, most: number): Int32Array {
  for (let n = longest; n >= shortest; n--) {
    for (let end = tokens.length - 1; end >= n; end--) {
      if (endsAlike(tokens, end, n)) return tokens.slice(end, end + most);
    }
  }
  return new Int32Array(0);
}

/** Whether the n tokens before `end` are the last n. */
function endsAlike(tokens: Int32Array, end: number, n: number): boolean {
  for (let i = 1; i <= n; i++) {
    if (tokens[end - i] !== tokens[tokens.length - i]) return false;
  }
  return true;
}
