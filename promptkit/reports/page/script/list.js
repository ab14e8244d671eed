// The list of rows, a page at a time, and the keys that move in it.

const PAGE_ROWS = 50;
const MOST_REPEATS = 3;
const MOST_COLUMNS = 7;
const FLAG_NAMES = { unparsed: "unparsed", truncated: "cut off", error: "error" };

let listed = [];
let page = 0;
let descending = false;

function update() {
  const graded = chosenMetric("metric")?.binary === false;
  find("flag").querySelector("[value=wrong]").textContent = graded ? "below the best score" : "wrong";
  listed = arranged(descending);
  page = 0;
  showList();
}

function showList() {
  const pages = Math.max(1, Math.ceil(listed.length / PAGE_ROWS));
  page = Math.max(0, Math.min(page, pages - 1));
  const start = page * PAGE_ROWS;
  const here = listed.slice(start, start + PAGE_ROWS);
  const part = pages > 1 ? `, ${count(start + 1)} to ${count(start + here.length)} shown` : "";
  const bound = hasCut && chosen("search") ? ` The search reads ${count(LIST_WIDTH)} characters of each text.` : "";
  find("count").textContent = `${count(listed.length)} of ${count(rows.length)} rows${part}.${bound}`;
  find("page").textContent = `Page ${count(page + 1)} of ${count(pages)}`;
  find("previous").disabled = page === 0;
  find("next").disabled = page === pages - 1;
  const list = find("list");
  const columns = shownVariants().length;
  list.classList.toggle("broad", columns > MOST_COLUMNS);
  list.style.setProperty("--least", `${600 + 140 * columns}px`);
  list.replaceChildren(listTable(here));
}

const shownVariants = () =>
  about.variants
    .map((each, number) => ({ name: each.name, number }))
    .filter(({ number }) => chosen("variant") === "" || chosen("variant") === String(number));

function listTable(here) {
  const head = make(
    "tr", { role: "row" },
    sortable("row", "Row"),
    fields.length ? make("th", { scope: "col", role: "columnheader", class: "field" }, chosen("column")) : null,
    hasExpected ? sortable("expected", "Expected", "expect") : null,
    shownVariants().map(({ name, number }) => sortable(`score ${number}`, name, `v${number % 8}`)),
    sortable("tokens", "Tokens", "number"),
    sortable("seconds", "Time", "number"),
  );
  return make(
    "table", { class: "list", role: "table" },
    make("caption", {}, `Rows of this page, ${find("sort").selectedOptions[0].textContent}`),
    make("thead", { role: "rowgroup" }, head),
    make("tbody", { role: "rowgroup" }, here.map((row, at) => listRow(row, at === 0))),
  );
}

function sortable(by, name, kind) {
  const order = chosen("sort") !== by ? null : descending ? "descending" : "ascending";
  const arrow = { ascending: "▲", descending: "▼" }[order] ?? "";
  const button = make(
    "button", { type: "button", class: "sorter", "data-sort": by, onclick: () => sortBy(by) },
    name, make("span", { "aria-hidden": "true", class: "arrow" }, arrow),
  );
  return make("th", { scope: "col", role: "columnheader", class: kind, "aria-sort": order }, button);
}

function sortBy(by) {
  descending = chosen("sort") === by && !descending;
  find("sort").value = by;
  update();
  find("list").querySelector(`button.sorter[data-sort="${by}"]`).focus();
}

function listRow(row, isFirst) {
  const cell = (name, content, kind) => make("td", { role: "cell", class: kind, "data-name": name }, content);
  const clip = (value) => make("div", { class: "clip" }, textOf(value));
  const toggle = make("button", {
    type: "button", class: "open", "aria-expanded": "false", "aria-label": `Row ${row.row}`,
    tabindex: isFirst ? "0" : "-1",
  }, String(row.row));
  const line = make(
    "tr", { role: "row", class: "row" },
    make("th", { scope: "row", role: "rowheader" }, toggle),
    fields.length ? cell(chosen("column"), clip(valueOf(row, chosen("column")))) : null,
    hasExpected ? cell("Expected", clip(row.expected)) : null,
    shownVariants().map(({ name, number }) => cell(name, answers(row.of[number]))),
    cell("Tokens", count(total(row.cells.map((each) => each.tokens))), "number"),
    cell("Time", duration(total(row.cells.map((each) => each.seconds))), "number"),
  );
  line.addEventListener("click", (event) => {
    if (!toggle.contains(event.target) && String(getSelection())) return; // Somebody marks text.
    focusRow(toggle);
    toggleRow(row, line);
  });
  return line;
}

function answers(cells) {
  const metric = chosenMetric("metric");
  const more = cells.length - MOST_REPEATS;
  return make(
    "div", { class: "answers" },
    cells.slice(0, MOST_REPEATS).map((cell) =>
      make("div", { class: "answer" }, mark(cell, metric), make("span", { class: "clip" }, outputText(cell))),
    ),
    more > 0 ? aside(`and ${more} more`) : null,
    cells.length ? null : aside("not answered yet"),
  );
}

const outputText = (cell) => (cell.output === null && cell.flag ? "" : shown(cell.output, 2));
const flagChip = (flag) => chip(flag === "error" ? "warn" : "bad", FLAG_NAMES[flag]);

function mark(cell, metric) {
  if (cell.flag) return flagChip(cell.flag);
  if (cell.exempt.includes(metric.number)) return aside("n/a");
  const score = cell.scores[metric.number];
  if (score === null || score === undefined) return chip("warn", "no score");
  if (!metric.binary) return make("span", { class: "score" }, figure(score));
  const right = isRight(cell, metric);
  const kind = right ? "mark good" : "mark bad";
  return make("span", { class: kind, role: "img", "aria-label": right ? "right" : "wrong" }, right ? "✓" : "✗");
}

function closeRow(line) {
  line.nextElementSibling.remove();
  const toggle = line.querySelector("button.open");
  toggle.setAttribute("aria-expanded", "false");
  focusRow(toggle);
}

async function toggleRow(row, line) {
  if (line.nextElementSibling?.classList.contains("opened")) {
    closeRow(line);
    return;
  }
  const place = make("td", { colspan: line.childElementCount, role: "cell" }, aside("Opening…"));
  const opened = make("tr", { class: "opened", role: "row", id: `opened-${row.index}` }, place);
  const toggle = line.querySelector("button.open");
  toggle.setAttribute("aria-expanded", "true");
  toggle.setAttribute("aria-controls", opened.id);
  line.after(opened);
  try {
    place.replaceChildren(rowView(row, await openedRow(row.index)));
  } catch (problem) {
    place.replaceChildren(make("p", { class: "bad", role: "alert" }, `This row cannot be opened: ${problem.message}`));
  }
}

// Keys: one row is in the tab order at a time, arrows move between them.

const toggles = () => [...find("list").querySelectorAll("button.open")];

function focusRow(toggle) {
  for (const each of toggles()) each.tabIndex = each === toggle ? 0 : -1;
  toggle.focus();
}

function turnPage(by, toLast) {
  const before = page;
  page += by;
  showList();
  const all = toggles();
  const atEnd = page === before ? by > 0 : toLast;
  if (all.length) focusRow(atEnd ? all.at(-1) : all[0]);
}

function listKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const all = toggles();
  const at = all.indexOf(document.activeElement);
  const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  if (event.key === "Escape") {
    const line = event.target.closest("tr.row, tr.opened");
    const opened = line?.classList.contains("opened") ? line : line?.nextElementSibling;
    if (!opened?.classList.contains("opened")) return;
    closeRow(opened.previousElementSibling);
  } else if (at < 0) return;
  else if (event.key === "PageDown") turnPage(1, false);
  else if (event.key === "PageUp") turnPage(-1, false);
  else if (!(event.key in moves)) return;
  else if (moves[event.key] < 0) turnPage(-1, true);
  else if (moves[event.key] >= all.length) turnPage(1, false);
  else focusRow(all[moves[event.key]]);
  event.preventDefault();
}

function searchKey(event) {
  const first = toggles()[0];
  if (event.key === "Escape" && chosen("search")) {
    find("search").value = "";
    update();
  } else if (first && (event.key === "ArrowDown" || event.key === "Enter")) focusRow(first);
  else return;
  event.preventDefault();
}

function pageKey(event) {
  const isWriting = event.target.closest?.("input, select, textarea");
  if (event.key !== "/" || isWriting || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  find("search").focus();
  find("search").select();
}
