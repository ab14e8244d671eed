// The run as its blocks tell it: read once for the list, block by block for opened rows.

const FLAGS = ["", "unparsed", "truncated", "error"];
const EXPECTED = "(expected)";
const MOST_VALUES = 30;
const KEPT_BLOCKS = 8;
const LIST_WIDTH = 1000; // Characters from which the list has only a part of a text.

const rows = [];
const distinct = new Map(); // The values of each field that has few.
let about = null;
let fields = [];
let metrics = [];
let hasExpected = false;
let hasCut = false;

async function inflate(element) {
  const binary = atob(element.textContent);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}

async function readRun() {
  about = await inflate(document.querySelector("script.pack-about"));
  const blocks = await Promise.all([...document.querySelectorAll("script.pack-rows")].map(inflate));
  const places = new Map();
  for (const block of blocks) {
    for (const name of block.names) if (!places.has(name)) places.set(name, places.size);
    for (const packed of block.rows) rows.push(readRow(packed, block.names.map((name) => places.get(name))));
  }
  fields = [...places.keys()];
  hasExpected = rows.some((row) => row.expected !== null);
  hasCut = rows.some((row) => row.values.some((value) => typeof value === "string" && value.length >= LIST_WIDTH));
  for (const name of fieldNames()) distinct.set(name, fewValues(name));
  metrics = about.metrics.map((_, number) => readMetric(number));
}

function readRow([row, expected, packed, given], places) {
  const cells = packed.map(([variant, flag, output, scores, tokens, seconds, calls, warnings, exempt]) => ({
    variant, flag: FLAGS[flag], output, scores, tokens, seconds, calls, warnings, exempt,
  }));
  const of = about.variants.map(() => []);
  for (const cell of cells) of[cell.variant].push(cell);
  const values = [];
  given.forEach((value, at) => {
    values[places[at]] = value;
  });
  return { index: rows.length, row, expected, cells, of, values };
}

const fieldNames = () => [...fields, ...(hasExpected ? [EXPECTED] : [])];
const valueOf = (row, name) => (name === EXPECTED ? row.expected : row.values[fields.indexOf(name)]);
const textOf = (value) => (value === null || value === undefined ? "" : String(value));

function fewValues(name) {
  const found = new Set();
  for (const row of rows) {
    found.add(textOf(valueOf(row, name)));
    if (found.size > MOST_VALUES) return null;
  }
  return [...found].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

// A metric with its best score, null where scores have no bounds; a binary one is right or wrong and nothing between.
function readMetric(number) {
  const name = about.metrics[number];
  const said = about.variants.map((each) => each.metrics[name]).find((each) => each) ?? { bounds: [0, 1] };
  const higher = said.higher_is_better !== false;
  const bounds = said.bounds;
  const best = bounds ? bounds[higher ? 1 : 0] : null;
  const atAnEnd = (cell) => cell.scores[number] === null || bounds.includes(cell.scores[number]);
  const binary = Boolean(bounds) && rows.every((row) => row.cells.every(atAnEnd));
  return { number, name, bounds, higher, best, binary };
}

const scoreOf = (cells, metric) =>
  mean(cells.map((cell) => cell.scores[metric.number]).filter((score) => score !== null));

function isRight(cell, metric) {
  const score = cell.scores[metric.number];
  return metric.best === null || score === null ? null : score === metric.best;
}

const pageIsRead = new Promise((resolve) => {
  if (document.readyState !== "loading") resolve();
  else document.addEventListener("DOMContentLoaded", resolve, { once: true });
});
const openedBlocks = new Map();

// All of a row: whole fields, and its cells with steps and traces. The blocks read last are kept.
async function openedRow(index) {
  await pageIsRead;
  const blocks = [...document.querySelectorAll("script.pack-opened")];
  const block = blocks.findLast((each) => Number(each.dataset.first) <= index);
  const first = Number(block.dataset.first);
  const reading = openedBlocks.get(first) ?? inflate(block);
  openedBlocks.delete(first);
  openedBlocks.set(first, reading);
  if (openedBlocks.size > KEPT_BLOCKS) openedBlocks.delete(openedBlocks.keys().next().value);
  return (await reading)[index - first];
}
