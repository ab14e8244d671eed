"use strict";
(() => {
  // Text of a run is hostile: it only ever becomes text nodes and attributes, with what cannot be seen shown as escapes.

  const HIDDEN = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]" +
    "|\\udb40[\\udc00-\\udc7f]|[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]", "g");

  function escaped(found) {
    const code = found.codePointAt(0);
    const digits = code.toString(16);
    if (code < 0x100) return "\\x" + digits.padStart(2, "0");
    return code < 0x10000 ? "\\u" + digits.padStart(4, "0") : "\\U" + digits.padStart(8, "0");
  }

  const visible = (text) => text.replaceAll("\r\n", "\n").replace(HIDDEN, escaped);
  const shown = (value, indent) =>
    visible(typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value, null, indent));

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

  // Numbers

  const whole = new Intl.NumberFormat("en");
  function figure(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size >= 100) return whole.format(Math.round(value));
    return size >= 10 ? value.toFixed(1) : value.toFixed(3);
  }
  const short = (value) => (Number.isInteger(value) ? whole.format(value) : figure(value).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""));
  function duration(seconds) {
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
    return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  }
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
  const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];

  // Wilson's score interval (1927) at 95 %.
  function wilson(share, n) {
    const z = 1.959963984540054, z2 = z * z;
    const middle = (share + z2 / (2 * n)) / (1 + z2 / n);
    const reach = (z / (1 + z2 / n)) * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n));
    return [Math.max(0, middle - reach), Math.min(1, middle + reach)];
  }

  // Blocks

  async function inflate(element) {
    const binary = atob(element.textContent);
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  }

  const whole_page = new Promise((resolve) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve, { once: true });
    else resolve();
  });
  const opened_blocks = new Map();  // The few read last.

  async function opened_row(index) {
    await whole_page;
    const blocks = [...document.querySelectorAll("script.pack-opened")];
    const block = blocks.findLast((each) => Number(each.dataset.first) <= index);
    const first = Number(block.dataset.first);
    const reading = opened_blocks.get(first) ?? inflate(block);
    opened_blocks.delete(first);
    opened_blocks.set(first, reading);
    if (opened_blocks.size > 8) opened_blocks.delete(opened_blocks.keys().next().value);
    return (await reading)[index - first];
  }

  // The run

  const FLAGS = ["", "unparsed", "truncated", "error"];
  const FLAG_NAMES = { unparsed: "unparsed", truncated: "cut off", error: "error" };
  const PAGE_ROWS = 50;
  const MOST_VALUES = 30;
  let about, rows = [], fields = [], distinct = new Map(), has_expected = false, has_cut = false;

  async function read() {
    about = await inflate(document.querySelector("script.pack-about"));
    const blocks = await Promise.all([...document.querySelectorAll("script.pack-rows")].map(inflate));
    const names = new Map();
    for (const block of blocks) {
      const places = block.names.map((name) => names.get(name) ?? names.set(name, names.size).get(name));
      for (const [row, expected, packed, values] of block.rows) {
        const of = about.variants.map(() => []);
        const cells = packed.map(([variant, flag, output, scores, tokens, seconds, calls]) => {
          const cell = { variant, flag: FLAGS[flag], output, scores, tokens, seconds, calls };
          of[variant].push(cell);
          return cell;
        });
        const placed = [];
        values.forEach((value, at) => { placed[places[at]] = value; });
        rows.push({ index: rows.length, row, expected, cells, of, values: placed });
      }
    }
    fields = [...names.keys()];
    has_expected = rows.some((row) => row.expected !== null);
    has_cut = rows.some((row) => row.values.some((value) => typeof value === "string" && value.length >= 1000));
    for (const name of choices()) distinct.set(name, values_of(name));
  }

  const EXPECTED = "(expected)";
  const choices = () => [...fields, ...(has_expected ? [EXPECTED] : [])];
  const value_of = (row, name) => (name === EXPECTED ? row.expected : row.values[fields.indexOf(name)]);
  const text_of = (value) => (value === null || value === undefined ? "" : String(value));

  function values_of(name) {
    const found = new Set();
    for (const row of rows) {
      found.add(text_of(value_of(row, name)));
      if (found.size > MOST_VALUES) return null;
    }
    return [...found].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  }

  // A metric's limits and whether its cells are right or wrong and nothing between.
  function metric_of(number) {
    const name = about.metrics[number];
    const said = about.variants.map((each) => each.metrics[name]).find((each) => each) ?? {};
    const bounds = said.bounds === undefined ? [0, 1] : said.bounds;
    const higher = said.higher_is_better !== false;
    const best = bounds ? bounds[higher ? 1 : 0] : null;
    const binary = Boolean(bounds) && rows.every((row) => row.cells.every((cell) => {
      const score = cell.scores[number];
      return score === null || score === bounds[0] || score === bounds[1];
    }));
    return { number, name, bounds, higher, best, binary };
  }
  let metrics = [];
  const score_of = (cells, metric) =>
    mean(cells.map((cell) => cell.scores[metric.number]).filter((score) => score !== null));
  const is_wrong = (cell, metric) =>
    metric.best !== null && cell.scores[metric.number] !== null && cell.scores[metric.number] !== metric.best;

  // Choices

  function options(select, pairs, chosen) {
    select.replaceChildren(...pairs.map(([value, name]) => make("option", { value, selected: value === chosen }, name)));
  }

  function prepare_choices() {
    const of_metrics = about.metrics.map((name, number) => [String(number), name]);
    const aim = String(Math.max(0, metrics.findIndex((metric) => metric.bounds)));
    for (const id of ["metric", "slice-metric", "scatter-metric"]) options(find(id), of_metrics, aim);
    options(find("variant"), [["", "any"], ...about.variants.map((each, number) => [String(number), each.name])]);
    options(find("flag"), [["", "all rows"], ["wrong", "wrong"], ["unparsed", "unparsed"], ["truncated", "cut off"],
      ["error", "errors (missing)"], ["any", "any of these"], ["right", "right"]]);
    options(find("field"), [["", "any"], ...choices().map((name) => [name, name])]);
    const pairs = [];
    about.variants.forEach((a, first) => about.variants.slice(first + 1).forEach((b, after) => {
      const second = first + 1 + after;
      pairs.push([`${first} ${second} either`, `${a.name} and ${b.name} differ`],
        [`${first} ${second} better`, `${b.name} better than ${a.name}`],
        [`${first} ${second} worse`, `${b.name} worse than ${a.name}`]);
    }));
    options(find("flip"), [["", "any"], ...pairs]);
    find("flip").disabled = pairs.length === 0;
    options(find("sort"), [["failures", "failures first"], ["row", "row"], ...(has_expected ? [["expected", "expected"]] : []),
      ...about.variants.map((each, number) => [`score ${number}`, `score of ${each.name}`]),
      ["tokens", "tokens"], ["seconds", "time"]], "failures");
    const lengths = fields.map((name) => mean(rows.slice(0, 200).map((row) => text_of(value_of(row, name)).length)));
    options(find("column"), fields.map((name) => [name, name]), fields[lengths.indexOf(Math.max(...lengths))]);
    const sliced = choices().filter((name) => distinct.get(name) && distinct.get(name).length > 1);
    options(find("slice-field"), sliced.map((name) => [name, name]), sliced[0]);
    options(find("scatter-cost"), COSTS.filter(([key]) => about.variants.some((each) => cost_of(each, key) !== null)));
  }

  // Which rows

  let listed = [], page = 0, descending = false;

  function search_text(row) {
    row.text ??= [row.row, ...row.values, row.expected, ...row.cells.map((cell) => cell.output)]
      .map(text_of).join("\n").toLowerCase();
    return row.text;
  }

  function wanted() {
    const metric = metrics[Number(find("metric").value)];
    const variant = find("variant").value, flag = find("flag").value, flip = find("flip").value;
    const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const field = find("field").value, value = find("value").value;
    const exact = field && distinct.get(field)?.includes(value);
    const tests = [];
    if (words.length) tests.push((row) => words.every((word) => search_text(row).includes(word)));
    if (field && value !== "") {
      const lower = value.toLowerCase();
      tests.push((row) => {
        const text = text_of(value_of(row, field));
        return exact ? text === value : text.toLowerCase().includes(lower);
      });
    }
    if (flag || variant) {
      const shows = {
        "": () => true,
        wrong: (cell) => is_wrong(cell, metric),
        right: (cell) => metric.best !== null && cell.scores[metric.number] === metric.best,
        any: (cell) => cell.flag !== "" || is_wrong(cell, metric),
      }[flag] ?? ((cell) => cell.flag === flag);
      tests.push((row) => (variant ? row.of[Number(variant)] : row.cells).some(shows));
    }
    if (flip) {
      const [a, b, which] = flip.split(" ");
      tests.push((row) => {
        const first = score_of(row.of[a], metric), second = score_of(row.of[b], metric);
        if (first === null || second === null || first === second) return false;
        return which === "either" || (second > first) === (metric.higher === (which === "better"));
      });
    }
    return rows.filter((row) => tests.every((test) => test(row)));
  }

  function sort_key() {
    const metric = metrics[Number(find("metric").value)];
    const [by, number] = find("sort").value.split(" ");
    const toward = metric.higher ? 1 : -1;
    if (by === "row") return (row) => row.index;
    if (by === "expected") return (row) => text_of(row.expected);
    if (by === "tokens") return (row) => -row.cells.reduce((sum, cell) => sum + cell.tokens, 0);
    if (by === "seconds") return (row) => -row.cells.reduce((sum, cell) => sum + cell.seconds, 0);
    if (by === "score") {
      return (row) => {
        const score = score_of(row.of[number], metric);
        return score === null ? -Infinity : toward * score;
      };
    }
    const rank = { error: -4e9, unparsed: -3e9, truncated: -2e9, "": 0 };
    return (row) => {
      const score = score_of(row.cells, metric);
      return Math.min(...row.cells.map((cell) => rank[cell.flag])) + (score === null ? -1e9 : toward * score);
    };
  }

  function arrange() {
    const key = sort_key();
    const keyed = wanted().map((row) => [key(row), row]);
    const sign = descending ? -1 : 1;
    keyed.sort(([a, first], [b, second]) => sign * (a < b ? -1 : a > b ? 1 : 0) || first.index - second.index);
    listed = keyed.map(([, row]) => row);
  }

  // The list

  function update() {
    arrange();
    page = 0;
    show_list();
  }

  function show_list() {
    const pages = Math.max(1, Math.ceil(listed.length / PAGE_ROWS));
    page = Math.min(page, pages - 1);
    const start = page * PAGE_ROWS;
    const here = listed.slice(start, start + PAGE_ROWS);
    const part = listed.length > here.length ? `, ${whole.format(start + 1)} to ${whole.format(start + here.length)} shown` : "";
    const bounded = has_cut && find("search").value ? " The search reads the first 1,000 characters of each text." : "";
    find("count").textContent = `${whole.format(listed.length)} of ${whole.format(rows.length)} rows${part}.${bounded}`;
    find("page").textContent = `Page ${page + 1} of ${whole.format(pages)}`;
    find("previous").disabled = page === 0;
    find("next").disabled = page === pages - 1;
    find("list").classList.toggle("broad", about.variants.length > 7);
    find("list").style.setProperty("--least", `${520 + 120 * about.variants.length}px`);
    find("list").replaceChildren(list_table(here));
  }

  function list_table(here) {
    const metric = metrics[Number(find("metric").value)];
    const column = find("column").value;
    const span = 3 + about.variants.length + (has_expected ? 1 : 0) + (fields.length ? 1 : 0);
    const head = make("tr", { role: "row" },
      sortable("row", "Row"),
      fields.length ? make("th", { scope: "col", role: "columnheader", class: "field" }, column) : null,
      has_expected ? sortable("expected", "Expected", "expect") : null,
      about.variants.map((each, number) => sortable(`score ${number}`, each.name, `v${number % 8}`)),
      sortable("tokens", "Tokens", "number"), sortable("seconds", "Time", "number"));
    const body = make("tbody", { role: "rowgroup" }, here.map((row, at) => list_row(row, metric, column, span, at === 0)));
    return make("table", { class: "list", role: "table" },
      make("caption", {}, `Rows of this page, ${find("sort").selectedOptions[0]?.textContent ?? ""}`),
      make("thead", { role: "rowgroup" }, head), body);
  }

  function sortable(by, name, kind) {
    const active = find("sort").value === by;
    return make("th", { scope: "col", role: "columnheader", class: kind, "aria-sort": active ? (descending ? "descending" : "ascending") : null },
      make("button", { type: "button", class: "sorter", "data-sort": by, onclick: () => sort_by(by) }, name,
        make("span", { "aria-hidden": "true", class: "arrow" }, active ? (descending ? "▼" : "▲") : "")));
  }

  function sort_by(by) {
    const select = find("sort");
    descending = select.value === by && !descending;
    select.value = by;
    update();
    find("list").querySelector(`button.sorter[data-sort="${by}"]`).focus();
  }

  function list_row(row, metric, column, span, first) {
    const tokens = row.cells.reduce((sum, cell) => sum + cell.tokens, 0);
    const seconds = row.cells.reduce((sum, cell) => sum + cell.seconds, 0);
    const toggle = make("button", {
      type: "button", class: "open", "aria-expanded": "false", tabindex: first ? "0" : "-1",
      "aria-label": `Row ${row.row}`,
    }, String(row.row));
    const line = make("tr", { role: "row", class: "row" },
      make("th", { scope: "row", role: "rowheader" }, toggle),
      fields.length ? cell_of(column, make("div", { class: "clip" }, text_of(value_of(row, column)))) : null,
      has_expected ? cell_of("Expected", make("div", { class: "clip" }, text_of(row.expected))) : null,
      about.variants.map((each, number) => cell_of(each.name, make("div", { class: "answers" },
        row.of[number].slice(0, 3).map((cell) => answer(cell, metric)),
        row.of[number].length > 3 ? aside(`and ${row.of[number].length - 3} more`) : null,
        row.of[number].length ? null : aside("not answered yet")))),
      cell_of("Tokens", whole.format(tokens), "number"), cell_of("Time", duration(seconds), "number"));
    line.addEventListener("click", (event) => {
      const selecting = !toggle.contains(event.target) && String(getSelection());
      if (selecting) return;
      focus_row(toggle);
      open_row(row, line, span);
    });
    return line;
  }

  const cell_of = (name, content, kind) => make("td", { role: "cell", class: kind, "data-name": name }, content);

  function answer(cell, metric) {
    return make("div", { class: "answer" }, mark(cell, metric), make("span", { class: "clip" }, output_text(cell)));
  }

  function mark(cell, metric) {
    if (cell.flag) return make("span", { class: `chip ${cell.flag === "error" ? "warn" : "bad"}` }, FLAG_NAMES[cell.flag]);
    const score = cell.scores[metric.number];
    if (score === null || score === undefined) return make("span", { class: "chip warn" }, "no score");
    if (!metric.binary) return make("span", { class: "score" }, figure(score));
    const right = score === metric.best;
    return make("span", { class: `mark ${right ? "good" : "bad"}`, role: "img", "aria-label": right ? "right" : "wrong" }, right ? "✓" : "✗");
  }

  // Keys

  const toggles = () => [...find("list").querySelectorAll("button.open")];

  function focus_row(toggle) {
    for (const each of toggles()) each.tabIndex = each === toggle ? 0 : -1;
    toggle.focus();
  }

  function turn(by, land) {
    const before = page;
    page = Math.max(0, page + by);
    show_list();
    const all = toggles();
    if (!all.length) return;
    focus_row(page === before ? all[by > 0 ? all.length - 1 : 0] : all[land === "last" ? all.length - 1 : 0]);
  }

  function list_key(event) {
    const all = toggles();
    const at = all.indexOf(document.activeElement);
    if (event.key === "Escape") {
      const line = event.target.closest("tr.row, tr.opened");
      const opened = line?.classList.contains("opened") ? line : line?.nextElementSibling;
      if (!opened?.classList.contains("opened")) return;
      event.preventDefault();
      close_row(opened.previousElementSibling);
      return;
    }
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (move !== undefined) {
      if (move >= all.length) turn(1, "first");
      else if (move < 0) turn(-1, "last");
      else focus_row(all[move]);
    } else if (event.key === "PageDown") turn(1, "first");
    else if (event.key === "PageUp") turn(-1, "first");
    else return;
    event.preventDefault();
  }

  function page_key(event) {
    const typing = event.target.closest?.("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      find("search").focus();
      find("search").select();
    }
  }

  function search_key(event) {
    if (event.key === "Escape" && find("search").value) {
      event.preventDefault();
      find("search").value = "";
      update();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      const first = toggles()[0];
      if (first) focus_row(first);
    }
  }

  // An opened row

  function close_row(line) {
    line.nextElementSibling.remove();
    const toggle = line.querySelector("button.open");
    toggle.setAttribute("aria-expanded", "false");
    focus_row(toggle);
  }

  async function open_row(row, line, span) {
    if (line.nextElementSibling?.classList.contains("opened")) {
      close_row(line);
      return;
    }
    const place = make("td", { colspan: span, role: "cell" }, make("p", { class: "aside" }, "Opening…"));
    const opened = make("tr", { class: "opened", role: "row", id: `opened-${row.index}` }, place);
    const toggle = line.querySelector("button.open");
    toggle.setAttribute("aria-expanded", "true");
    toggle.setAttribute("aria-controls", opened.id);
    line.after(opened);
    try {
      place.replaceChildren(row_view(row, await opened_row(row.index)));
    } catch (problem) {
      place.replaceChildren(make("p", { class: "bad", role: "alert" }, `This row cannot be opened: ${problem.message}`));
    }
  }

  const output_text = (cell) => (cell.output === null && cell.flag ? "" : shown(cell.output, 2));
  const text_block = (value) => make("pre", { tabindex: "0" }, shown(value, 2));
  const pair = (name, value, kind) => make("div", { class: kind }, make("dt", {}, name), make("dd", {}, value));

  function row_view(row, detail) {
    const given = make("section", { "aria-label": `Row ${row.row}: what was given` }, make("h3", {}, `Row ${row.row}`),
      make("dl", { class: "fields" }, Object.entries(detail.fields).map(([name, value]) => field_view(name, value, "value")),
        has_expected ? field_view("Expected", detail.expect, "value expected") : null));
    const cells = row.cells.map((cell, at) => ({ ...cell, ...detail.cells[at], name: cell_name(row, cell, detail.cells[at]) }));
    return make("div", { class: "detail" }, given, make("div", { class: "cells" }, cells.map(cell_view)),
      cells.length > 1 ? difference_view(cells) : null);
  }

  function field_view(name, value, kind) {
    const text = shown(value, 2);
    return pair(name, make("div", { class: kind }, text), text.length > 40 || text.includes("\n") ? "long" : null);
  }

  function cell_name(row, cell, detail) {
    const name = about.variants[cell.variant].name;
    return row.of[cell.variant].length > 1 ? `${name}, repeat ${detail.repeat + 1}` : name;
  }

  function cell_view(cell) {
    const spent = [`${whole.format(cell.calls)} ${cell.calls === 1 ? "call" : "calls"}${cell.cached ? ` (${cell.cached} cached)` : ""}`,
      `${whole.format(cell.tokens_in)} + ${whole.format(cell.tokens_out)} tokens`, duration(cell.seconds)];
    const steps = Object.entries(cell.steps);
    return make("section", { class: "cell", "aria-label": cell.name },
      make("h4", { class: `v${cell.variant % 8}` }, cell.name, " ",
        cell.flag ? make("span", { class: `chip ${cell.flag === "error" ? "warn" : "bad"}` }, FLAG_NAMES[cell.flag]) : null),
      cell.problem ? make("p", { class: "problem" }, cell.problem) : null,
      output_text(cell) ? text_block(output_text(cell)) : make("p", { class: "aside" }, "No output."),
      make("table", { class: "scores" }, make("caption", {}, "Scores"), make("tbody", {}, Object.entries(cell.scores).map(score_row))),
      make("p", { class: "aside" }, spent.join(" · ")),
      steps.length ? make("details", {}, make("summary", {}, "Steps"), make("dl", {}, steps.map(([name, value]) => pair(name, text_block(value))))) : null,
      cell.trace ? lazy("Trace", () => node_view(cell.trace, true)) : make("p", { class: "aside" }, "No trace was kept."));
  }

  function score_row([name, [value, detail, why]]) {
    const said = Object.entries(detail).map(([key, part]) => `${key}: ${shown(part)}`);
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "number" }, figure(value)),
      make("td", { class: "aside" }, [why, ...said].filter(Boolean).join("; ")));
  }

  // A part that is made when it is first opened.
  function lazy(name, content, open) {
    const details = make("details", { class: "trace", open }, make("summary", {}, name));
    const reveal = () => { if (details.open && details.childElementCount === 1) details.append(content()); };
    details.addEventListener("toggle", reveal);
    reveal();
    return details;
  }

  function node_view(node, first) {
    const waited = node.waited ? `, waited for ${duration(node.waited)}` : "";
    const title = `${node.name} · ${node.kind} · ${node.status} · ${duration(node.seconds ?? 0)}${waited}`;
    const calls = node.calls ?? [], parts = node.parts ?? [];
    return make("section", { class: "node", "aria-label": `Step ${node.name}` },
      make("h5", {}, title),
      node.problem ? make("p", { class: "problem" }, node.problem) : null,
      calls.map((call, at) => lazy(call_title(call), () => call_view(call), first && at === 0 && !parts.length)),
      parts.map((part) => node_view(part, parts.length === 1)),
      node.value === null || node.value === undefined ? null : said_block("value", node.value),
      Object.entries(node.extra ?? {}).map(([name, value]) => said_block(name, value)));
  }

  function call_title(call) {
    const parts = [`call ${call.call}`];
    if (String(call.sample ?? "").includes("/")) parts.push(`sample ${call.sample}`);
    parts.push(`${call.tokens_in ?? 0} + ${call.tokens_out ?? 0} tokens`, call.cached ? "cached" : duration(call.seconds ?? 0));
    if (call.repair) parts.push("repair");
    if (call.finish === "length") parts.push("cut off");
    return [...parts, ...(call.notes ?? [])].join(" · ");
  }

  const said_block = (name, value, kind) =>
    make("div", { class: `said ${kind ?? ""}` }, make("h6", {}, name), text_block(value));

  function call_view(call) {
    const shown_apart = ["call", "messages", "prompt", "begun", "reply", "thoughts", "parsed", "problem", "options", "notes"];
    const rest = Object.entries(call).filter(([name, value]) => !shown_apart.includes(name) && value !== null && value !== "" && value !== false);
    const optional = (name, kind) => (call[name] ? said_block(name, call[name], kind) : null);
    return make("div", { class: "call" },
      (call.messages ?? []).map((message) => said_block(message.role, message.content, "sent")),
      optional("prompt", "sent"), optional("begun", "sent"), optional("thoughts", "thoughts"),
      said_block("reply", call.reply ?? "", "reply"),
      call.parsed === null || call.parsed === undefined ? null : said_block("parsed", call.parsed),
      call.problem ? make("p", { class: "problem" }, call.problem) : null,
      make("dl", { class: "options" }, [...Object.entries(call.options ?? {}), ...rest].map(([name, value]) => pair(name, shown(value)))));
  }

  // Differences, word by word

  const LARGEST_TABLE = 4e6;
  const words_of = (text) => text.match(/[\p{L}\p{N}_]+\s*|[^\p{L}\p{N}_\s]\s*|\s+/gu) ?? [];

  function compare(old, now) {
    let before = words_of(old), after = words_of(now);
    if (before.length * after.length > LARGEST_TABLE) {
      before = old.split(/(?<=\n)/);
      after = now.split(/(?<=\n)/);
    }
    let start = 0, end = 0;
    while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
    while (end < before.length - start && end < after.length - start &&
      before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
    const middle = longest_common(before.slice(start, before.length - end), after.slice(start, after.length - end));
    return joined([...before.slice(0, start).map((word) => ["kept", word]), ...middle,
      ...before.slice(before.length - end).map((word) => ["kept", word])]);
  }

  function longest_common(before, after) {
    const n = before.length, m = after.length, width = m + 1;
    if (n * m > LARGEST_TABLE) return [...before.map((word) => ["removed", word]), ...after.map((word) => ["added", word])];
    const length = new Uint32Array((n + 1) * width);
    for (let i = n - 1; i >= 0; i -= 1) {
      for (let j = m - 1; j >= 0; j -= 1) {
        length[i * width + j] = before[i] === after[j] ? length[(i + 1) * width + j + 1] + 1
          : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
      }
    }
    const parts = [];
    let i = 0, j = 0;
    while (i < n || j < m) {
      if (i < n && j < m && before[i] === after[j]) { parts.push(["kept", before[i]]); i += 1; j += 1; }
      else if (j === m || (i < n && length[(i + 1) * width + j] >= length[i * width + j + 1])) { parts.push(["removed", before[i]]); i += 1; }
      else { parts.push(["added", after[j]]); j += 1; }
    }
    return parts;
  }

  function joined(parts) {
    const found = [];
    for (const [change, word] of parts) {
      if (found.length && found.at(-1)[0] === change) found.at(-1)[1] += word;
      else found.push([change, word]);
    }
    return found;
  }

  function sent_text(node) {
    if (!node) return "";
    const calls = (node.calls ?? []).map((call) =>
      [...(call.messages ?? []).map((message) => `${message.role}:\n${message.content}`), call.prompt, call.begun].filter(Boolean).join("\n\n"));
    return [...calls, ...(node.parts ?? []).map(sent_text)].filter(Boolean).join("\n\n");
  }

  function difference_view(cells) {
    const names = cells.map((cell, number) => [String(number), cell.name]);
    const other = cells.findIndex((cell) => shown(cell.output) !== shown(cells[0].output));
    const from = make("select"), to = make("select"), what = make("select");
    options(from, names, "0");
    options(to, names, String(other > 0 ? other : 1));
    options(what, [["output", "what came out"], ["sent", "what was sent"]], "output");
    const place = make("div", { class: "difference", tabindex: "0", "aria-live": "polite" });
    const show = () => {
      const [a, b] = [cells[Number(from.value)], cells[Number(to.value)]];
      const read = what.value === "sent" ? (cell) => sent_text(cell.trace) : output_text;
      const [old, now] = [visible(read(a)), visible(read(b))];
      if (old === now) { place.replaceChildren(aside("No difference.")); return; }
      const tags = { kept: "span", removed: "del", added: "ins" };
      place.replaceChildren(...compare(old, now).map(([change, text]) => make(tags[change], {}, text)));
    };
    for (const select of [from, to, what]) select.addEventListener("change", show);
    show();
    return make("section", { "aria-label": "Difference word by word" }, make("h4", {}, "Difference, word by word"),
      make("p", { class: "controls" }, make("label", {}, "From ", from), " ", make("label", {}, "to ", to), " ", make("label", {}, "in ", what)), place);
  }

  // Figures

  const COSTS = [["tokens", "tokens a row"], ["calls", "calls a row"], ["seconds", "seconds a row"], ["cost", "cost a row"]];

  function cost_of(variant, key) {
    const answered = (variant.cases ?? 0) - (variant.missing ?? 0);
    const spent = key === "tokens" ? (variant.tokens_in ?? 0) + (variant.tokens_out ?? 0) : variant[key];
    return spent === null || spent === undefined || !answered ? null : spent / answered;
  }

  function ticks(low, high, most) {
    const raw = (high - low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
    const found = [];
    for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at += 1) found.push(at * step);
    return found;
  }

  const SHAPES = [
    (x, y) => draw("circle", { cx: x, cy: y, r: 5.5 }),
    (x, y) => draw("rect", { x: x - 5, y: y - 5, width: 10, height: 10 }),
    (x, y) => draw("path", { d: `M${x} ${y - 6.5}L${x + 6} ${y + 4.5}H${x - 6}Z` }),
    (x, y) => draw("path", { d: `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z` }),
  ];

  // Drawn as wide as there is room, so that text keeps its size.
  const wide = (place) => Math.min(660, Math.max(280, place.clientWidth));

  function show_scatter() {
    const name = about.metrics[Number(find("scatter-metric").value)];
    const [key, cost_name] = COSTS.find(([each]) => each === find("scatter-cost").value) ?? COSTS[0];
    const points = about.variants.map((variant, number) => ({ number, name: variant.name, x: cost_of(variant, key), ...variant.metrics[name] }))
      .filter((point) => point.x !== null && typeof point.mean === "number");
    if (!points.length) { find("scatter").replaceChildren(make("p", { class: "aside" }, "Nothing to draw yet.")); return; }
    const width = wide(find("scatter")), height = 320, left = 56, right = 18, top = 14, bottom = 44;
    const ys = points.flatMap((point) => [point.mean, point.low ?? point.mean, point.high ?? point.mean]);
    const room = (Math.max(...ys) - Math.min(...ys)) * 0.08 || 0.05;
    const [low, high] = [Math.min(...ys) - room, Math.max(...ys) + room];
    const most = Math.max(...points.map((point) => point.x)) * 1.12 || 1;
    const x = (value) => left + (value / most) * (width - left - right);
    const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
    const label = `${name} against ${cost_name}. ` + points.map((point) =>
      `${point.name}: ${figure(point.mean)}${point.low === null || point.low === undefined ? "" : `, interval ${figure(point.low)} to ${figure(point.high)}`}, at ${figure(point.x)} ${cost_name}`).join(". ");
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" },
      ticks(low, high, 5).map((value) => [draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
        draw("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, short(value))]).flat(),
      ticks(0, most, width / 90).map((value) => draw("text", { x: x(value), y: height - bottom + 18, "text-anchor": "middle" }, short(value))),
      draw("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
      draw("text", { class: "title", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, cost_name),
      placed_apart(points, x, y).map(({ point, beside }) => {
        const at = x(point.x), end = at > width * 0.72;
        const whisker = point.low === null || point.low === undefined ? null : draw("line", { class: "whisker", x1: at, x2: at, y1: y(point.low), y2: y(point.high) });
        return draw("g", { class: `series v${point.number % 8}` }, whisker, SHAPES[point.number % SHAPES.length](at, y(point.mean)),
          draw("text", { x: at + (end ? -10 : 10), y: beside, "text-anchor": end ? "end" : "start" }, point.name));
      }));
    find("scatter").replaceChildren(svg);
  }

  // Names of points that lie close together stand one above the other.
  function placed_apart(points, x, y) {
    const placed = [];
    for (const point of [...points].sort((a, b) => a.mean - b.mean)) {
      const near = placed.filter((each) => Math.abs(x(each.point.x) - x(point.x)) < 90).map((each) => each.beside);
      placed.push({ point, beside: Math.min(y(point.mean) - 8, ...near.map((at) => at - 15)) });
    }
    return placed;
  }

  function show_latency() {
    const times = about.variants.map((_, number) => rows.flatMap((row) => row.of[number].filter((cell) => cell.flag !== "error")
      .map((cell) => cell.seconds)).sort((a, b) => a - b));
    const most = Math.max(...times.filter((each) => each.length).map((each) => quantile(each, 0.99)), 1e-3);
    const bins = 36;
    const counted = times.map((each) => {
      const bars = new Array(bins).fill(0);
      for (const time of each) bars[Math.min(bins - 1, Math.floor((time / most) * bins))] += 1;
      return bars;
    });
    find("latency").replaceChildren(...about.variants.map((variant, number) => latency_chart(variant.name, number, times[number], counted[number], most)),
      make("p", { class: "aside" }, "The last column holds all that took longer than it."));
  }

  function latency_chart(name, number, sorted, bars, most) {
    if (!sorted.length) return make("p", { class: "aside" }, `${name}: no answer yet`);
    const width = wide(find("latency")), height = 78, base = 56, highest = Math.max(...bars, 1), step = width / bars.length;
    const said = `median ${duration(quantile(sorted, 0.5))}, 95th percentile ${duration(quantile(sorted, 0.95))}`;
    const line = (q, kind) => {
      const at = Math.min(width - 1, (quantile(sorted, q) / most) * width);
      return draw("line", { class: `quantile ${kind}`, x1: at, x2: at, y1: 0, y2: base });
    };
    return make("div", { class: "latency" }, make("p", {}, make("span", { class: `name v${number % 8}` }, name), " ", aside(said)),
      draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Histogram of seconds, ${name}: ${said}`, class: "chart" },
        draw("g", { class: `series v${number % 8}` }, bars.map((count, at) => draw("rect", {
          x: at * step + 0.5, width: step - 1, y: base - (count / highest) * base, height: (count / highest) * base }))),
        line(0.5, "median"), line(0.95, "high"),
        draw("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }),
        ticks(0, most, width / 90).map((value) => draw("text", {
          x: Math.min(width - 30, (value / most) * width), y: height - 6 }, duration(value)))));
  }

  // Slices

  function show_slices() {
    const field = find("slice-field").value;
    const metric = metrics[Number(find("slice-metric").value)];
    const place = find("slice-table");
    if (!field || !metric) { place.replaceChildren(make("p", { class: "aside" }, `No field has between 2 and ${MOST_VALUES} values.`)); return; }
    const groups = new Map(distinct.get(field).map((value) => [value, []]));
    for (const row of rows) groups.get(text_of(value_of(row, field))).push(row);
    const head = make("tr", {}, make("th", { scope: "col" }, field), make("th", { scope: "col", class: "number" }, "Rows"),
      about.variants.map((each, number) => make("th", { scope: "col", class: `v${number % 8}` }, each.name)));
    const body = [...groups].map(([value, group]) => make("tr", {}, make("th", { scope: "row" }, value === "" ? "(none)" : value),
      make("td", { class: "number" }, whole.format(group.length)),
      about.variants.map((_, number) => make("td", {}, slice_cell(group, number, metric)))));
    place.replaceChildren(make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `${metric.name} by ${field}` },
      make("table", {}, make("caption", {}, `${metric.name} by ${field}, exploratory`), make("thead", {}, head), make("tbody", {}, body))),
    make("p", { class: "aside" }, metric.binary ? "Wilson intervals at 95 %, a row counted once." : "No interval: this score is not only right or wrong."));
  }

  function slice_cell(group, number, metric) {
    const scores = group.map((row) => score_of(row.of[number], metric)).filter((score) => score !== null);
    const score = mean(scores);
    if (score === null) return "–";
    if (!metric.binary) return make("b", {}, figure(score));
    const [start, end] = metric.bounds, span = end - start || 1;
    const [low, high] = wilson((score - start) / span, scores.length).map((share) => start + share * span);
    const x = (value) => 4 + ((value - start) / span) * 112;
    return [make("b", {}, figure(score)), make("span", { class: "interval" }, ` [${figure(low)}, ${figure(high)}]`),
      draw("svg", { class: `bar series v${number % 8}`, viewBox: "0 0 120 16", width: 120, height: 16, "aria-hidden": "true" },
        draw("line", { class: "axis", x1: 4, x2: 116, y1: 8, y2: 8 }), draw("line", { class: "range", x1: x(low), x2: x(high), y1: 8, y2: 8 }),
        draw("circle", { cx: x(score), cy: 8, r: 3.5 }))];
  }

  // Start

  function show_field_values() {
    const field = find("field").value;
    find("value").disabled = field === "";
    find("value").value = "";
    find("values").replaceChildren(...(distinct.get(field) ?? []).map((value) => make("option", { value })));
  }

  function listen() {
    const form = find("filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      if (event.target.id === "field") show_field_values();
      if (event.target.id === "sort") descending = false;
      update();
    });
    form.addEventListener("reset", () => setTimeout(() => { descending = false; show_field_values(); update(); }));
    find("search").addEventListener("keydown", search_key);
    find("list").addEventListener("keydown", list_key);
    find("previous").addEventListener("click", () => { page -= 1; show_list(); find("list").scrollIntoView(); });
    find("next").addEventListener("click", () => { page += 1; show_list(); find("list").scrollIntoView(); });
    document.addEventListener("keydown", page_key);
    let seen = innerWidth;
    addEventListener("resize", () => {
      if (seen === innerWidth) return;
      seen = innerWidth;
      show_scatter();
      show_latency();
    });
    for (const id of ["scatter-metric", "scatter-cost"]) find(id).addEventListener("change", show_scatter);
    for (const id of ["slice-field", "slice-metric"]) find(id).addEventListener("change", show_slices);
  }

  async function start() {
    try {
      await read();
      metrics = about.metrics.map((_, number) => metric_of(number));
      prepare_choices();
      listen();
      update();
      requestAnimationFrame(() => setTimeout(() => {  // The list is on the screen.
        document.documentElement.dataset.ready = String(Math.round(performance.now()));
        show_scatter();
        show_latency();
        show_slices();
      }));
    } catch (problem) {
      find("count").textContent = `The rows cannot be read: ${problem.message}`;
      throw problem;
    }
  }

  start();
})();
