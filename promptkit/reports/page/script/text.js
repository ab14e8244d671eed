// Text of a run is hostile: it only becomes text nodes and attributes, and what cannot be seen shows as escapes.

const HIDDEN = new RegExp(
  [
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f]",
    "[\\u2028-\\u202e\\u2060-\\u206f\\ufeff]",
    "\\udb40[\\udc00-\\udc7f]",
    "[\\ud800-\\udbff](?![\\udc00-\\udfff])",
    "(?<![\\ud800-\\udbff])[\\udc00-\\udfff]",
  ].join("|"),
  "g",
);

function escaped(found) {
  const code = found.codePointAt(0);
  const digits = code.toString(16);
  if (code < 0x100) return "\\x" + digits.padStart(2, "0");
  return code < 0x10000 ? "\\u" + digits.padStart(4, "0") : "\\U" + digits.padStart(8, "0");
}

const visible = (text) => text.replaceAll("\r\n", "\n").replace(HIDDEN, escaped);

// A value as a person reads it: text as it is, all else as JSON.
function shown(value, indent) {
  if (value === undefined) return "";
  return visible(typeof value === "string" ? value : JSON.stringify(value, null, indent));
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : visible(String(value)));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : visible(String(child)));
  }
  return element;
}

const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const find = (id) => document.getElementById(id);
const aside = (text) => make("span", { class: "aside" }, text);
const chip = (kind, text) => make("span", { class: `chip ${kind}` }, text);

// Numbers

const thousands = new Intl.NumberFormat("en");
const count = (value) => thousands.format(value);

function figure(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 100) return count(Math.round(value));
  return value.toFixed(size >= 10 ? 1 : 3);
}

const tickText = (value) => (Number.isInteger(value) ? count(value) : String(Number(value.toPrecision(6))));

function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);
const mean = (values) => (values.length ? total(values) / values.length : null);
const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

const Z = 1.959963984540054;

// Wilson's score interval (1927) at 95 %, or at the level of another normal or t quantile.
function wilson(share, n, z = Z) {
  const z2 = z * z;
  const middle = (share + z2 / (2 * n)) / (1 + z2 / n);
  const reach = (z / (1 + z2 / n)) * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n));
  return [Math.max(0, middle - reach), Math.min(1, middle + reach)];
}

// The interval of a mean of scores between 0 and 1: Wilson's form with as many 0/1 rows as would give the same variance,
// one more row of the largest variance added, and Student's t. Null for fewer than 5 rows.
function gradedInterval(shares) {
  const n = shares.length;
  if (n < 5) return null;
  const average = mean(shares);
  const largest = average * (1 - average);
  const variance = total(shares.map((share) => (share - average) ** 2)) / n;
  const rows = largest ? Math.max(n, (largest * n) / (variance + largest / n)) : n;
  return wilson(average, rows, tQuantile(n - 1));
}

// Student's t quantile at 95 %, expanded around the normal one (Fisher & Cornish 1960); from 4 degrees right to 1 %.
function tQuantile(degrees) {
  const terms = [
    (Z ** 3 + Z) / 4,
    (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / 96,
    (3 * Z ** 7 + 19 * Z ** 5 + 17 * Z ** 3 - 15 * Z) / 384,
  ];
  return terms.reduce((sum, term, at) => sum + term / degrees ** (at + 1), Z);
}
