// Two texts compared word by word, by their longest common subsequence.

const LARGEST_TABLE = 4e6;
const WORD = /[\p{L}\p{N}_]+\s*|[^\p{L}\p{N}_\s]\s*|\s+/gu;

// The parts of both texts in reading order, each [kept, removed or added, text]; very long texts line by line.
function compareWords(old, now) {
  let [before, after] = [old, now].map((text) => text.match(WORD) ?? []);
  if (before.length * after.length > LARGEST_TABLE) {
    [before, after] = [old, now].map((text) => text.split(/(?<=\n)/));
  }
  const least = Math.min(before.length, after.length);
  let start = 0;
  while (start < least && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < least - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const kept = (words) => words.map((word) => ["kept", word]);
  const middle = compareMiddle(before.slice(start, before.length - end), after.slice(start, after.length - end));
  return joinedParts([...kept(before.slice(0, start)), ...middle, ...kept(before.slice(before.length - end))]);
}

function compareMiddle(before, after) {
  const [n, m] = [before.length, after.length];
  const removed = (word) => ["removed", word];
  const added = (word) => ["added", word];
  if (n * m > LARGEST_TABLE) return [...before.map(removed), ...after.map(added)];
  const width = m + 1;
  const longest = new Uint32Array((n + 1) * width); // Of what is left from word i and word j on.
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      const [down, right] = [longest[(i + 1) * width + j], longest[i * width + j + 1]];
      longest[i * width + j] = before[i] === after[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(down, right);
    }
  }
  const parts = [];
  let i = 0;
  let j = 0;
  while (i < n || j < m) {
    if (i < n && j < m && before[i] === after[j]) {
      parts.push(["kept", before[i]]);
      i += 1;
      j += 1;
    } else if (j === m || (i < n && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      parts.push(removed(before[i]));
      i += 1;
    } else {
      parts.push(added(after[j]));
      j += 1;
    }
  }
  return parts;
}

function joinedParts(parts) {
  const found = [];
  for (const [change, word] of parts) {
    if (found.at(-1)?.[0] === change) found.at(-1)[1] += word;
    else found.push([change, word]);
  }
  return found;
}
