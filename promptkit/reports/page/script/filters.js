// Which rows are listed, and in which order.

const chosen = (id) => find(id).value;
const chosenMetric = (id) => metrics[Number(chosen(id))];

function setOptions(select, pairs, value) {
  const option = ([each, name]) => make("option", { value: each, selected: each === value }, name);
  select.replaceChildren(...pairs.map(option));
}

function prepareFilters() {
  const same = (names) => names.map((name) => [name, name]);
  const variants = about.variants.map((each, number) => [String(number), each.name]);
  const aim = String(Math.max(0, metrics.findIndex((metric) => metric.bounds)));
  for (const id of ["metric", "slice-metric", "scatter-metric"]) {
    setOptions(find(id), about.metrics.map((name, number) => [String(number), name]), aim);
  }
  setOptions(find("variant"), [["", "all"], ...variants]);
  const shows = [["", "all rows"], ["wrong", "wrong"], ["unparsed", "unparsed"], ["truncated", "cut off"]];
  const others = [["error", "errors (missing)"], ["any", "any of these"], ["right", "right"]];
  const warned = about.warnings.map((text, number) => [`warning ${number}`, text]);
  setOptions(find("flag"), [...shows, ...others, ...warned]);
  setOptions(find("field"), [["", "any"], ...same(fieldNames())]);
  const pairs = flips();
  setOptions(find("flip"), [["", "any"], ...pairs]);
  find("flip").disabled = pairs.length === 0;
  const scores = variants.map(([number, name]) => [`score ${number}`, `score of ${name}`]);
  const orders = [["failures", "failures first"], ["row", "row"], ...scores];
  if (hasExpected) orders.push(["expected", "expected"]);
  setOptions(find("sort"), [...orders, ["tokens", "tokens"], ["seconds", "time"]], "failures");
  setOptions(find("column"), same(fields), longestField());
  const sliced = fieldNames().filter((name) => distinct.get(name)?.length > 1);
  // A field whose every value has few rows tells nothing.
  const telling = sliced.filter((name) => distinct.get(name).length <= rows.length / 4);
  setOptions(find("slice-field"), same(sliced), telling[0] ?? sliced[0]);
}

function flips() {
  const pairs = [];
  about.variants.forEach((a, first) => {
    about.variants.forEach((b, second) => {
      if (second <= first) return;
      pairs.push([`${first} ${second} either`, `${a.name} and ${b.name} differ`]);
      pairs.push([`${first} ${second} better`, `${b.name} better than ${a.name}`]);
      pairs.push([`${first} ${second} worse`, `${b.name} worse than ${a.name}`]);
    });
  });
  return pairs;
}

function longestField() {
  const some = rows.slice(0, 200);
  const lengths = fields.map((name) => total(some.map((row) => textOf(valueOf(row, name)).length)));
  return fields[lengths.indexOf(Math.max(...lengths))];
}

function searchText(row) {
  const texts = [row.row, ...row.values, row.expected, ...row.cells.map((cell) => cell.output)];
  row.text ??= texts.map(textOf).join("\n").toLowerCase();
  return row.text;
}

// Each of these returns a test of a row, null where the control asks for nothing.

function searchTest() {
  const words = chosen("search").toLowerCase().split(/\s+/).filter(Boolean);
  return words.length ? (row) => words.every((word) => searchText(row).includes(word)) : null;
}

function fieldTest() {
  const field = chosen("field");
  const value = chosen("value");
  if (!field || value === "") return null;
  if (distinct.get(field)?.includes(value)) return (row) => textOf(valueOf(row, field)) === value;
  return (row) => textOf(valueOf(row, field)).toLowerCase().includes(value.toLowerCase());
}

function flagTest() {
  const metric = chosenMetric("metric");
  const flag = chosen("flag");
  const variant = chosen("variant");
  if (!flag) return null;
  const tests = {
    wrong: (cell) => isRight(cell, metric) === false,
    right: (cell) => isRight(cell, metric) === true,
    any: (cell) => cell.flag !== "" || isRight(cell, metric) === false,
  };
  const [, warning] = flag.split(" ");
  const test = tests[flag] ?? ((cell) => (warning ? cell.warnings.includes(Number(warning)) : cell.flag === flag));
  return (row) => (variant ? row.of[Number(variant)] : row.cells).some(test);
}

function flipTest() {
  if (!chosen("flip")) return null;
  const metric = chosenMetric("metric");
  const [a, b, which] = chosen("flip").split(" ");
  return (row) => {
    const before = scoreOf(row.of[a], metric);
    const after = scoreOf(row.of[b], metric);
    if (before === null || after === null || before === after) return false;
    return which === "either" || (which === "better") === (after > before === metric.higher);
  };
}

// What rows are sorted by, the smallest first.
function sortKey() {
  const metric = chosenMetric("metric");
  const toward = metric?.higher === false ? -1 : 1;
  const [by, number] = chosen("sort").split(" ");
  const scored = (cells, missing) => {
    const score = scoreOf(cells, metric);
    return score === null ? missing : toward * score;
  };
  const rank = { error: -4e9, unparsed: -3e9, truncated: -2e9, "": 0 };
  const keys = {
    row: (row) => row.index,
    expected: (row) => textOf(row.expected),
    tokens: (row) => -total(row.cells.map((cell) => cell.tokens)),
    seconds: (row) => -total(row.cells.map((cell) => cell.seconds)),
    score: (row) => scored(row.of[number], -Infinity),
    failures: (row) => Math.min(...row.cells.map((cell) => rank[cell.flag])) + scored(row.cells, -1e9),
  };
  return keys[by];
}

function arranged(descending) {
  const tests = [searchTest(), fieldTest(), flagTest(), flipTest()].filter(Boolean);
  const key = sortKey();
  const sign = descending ? -1 : 1;
  const keyed = rows.filter((row) => tests.every((test) => test(row))).map((row) => [key(row), row]);
  const order = ([a, first], [b, second]) => sign * (a < b ? -1 : a > b ? 1 : 0) || first.index - second.index;
  return keyed.sort(order).map(([, row]) => row);
}
