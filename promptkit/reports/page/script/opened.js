// An opened row: what was given, what each variant made of it, and where they differ.

const LONG_FIELD = 40;

const textBlock = (value) => make("pre", {}, shown(value, 2));
const described = (name, value, kind) =>
  make("div", { class: kind }, make("dt", {}, name), make("dd", {}, value));

function rowView(row, whole) {
  const cells = row.cells.map((cell, at) => {
    const more = whole.cells[at];
    return { ...cell, ...more, name: cellName(row, cell, more.repeat) };
  });
  return make(
    "div", { class: "detail" },
    make(
      "section", { "aria-label": `Row ${row.row}: what was given` },
      make("h3", {}, `Row ${row.row}`),
      make(
        "dl", { class: "fields" },
        Object.entries(whole.fields).map(([name, value]) => fieldView(name, value, "value")),
        hasExpected ? fieldView("Expected", whole.expect, "value expected") : null,
      ),
    ),
    make("div", { class: "cells" }, cells.map(cellView)),
    cells.length > 1 ? differenceView(cells) : null,
  );
}

function fieldView(name, value, kind) {
  const text = shown(value, 2);
  const isLong = text.length > LONG_FIELD || text.includes("\n");
  return described(name, make("div", { class: kind }, text), isLong ? "long" : null);
}

function cellName(row, cell, repeat) {
  const name = about.variants[cell.variant].name;
  return row.of[cell.variant].length > 1 ? `${name}, repeat ${repeat + 1}` : name;
}

function cellView(cell) {
  const cached = cell.cached ? ` (${count(cell.cached)} cached)` : "";
  const spent = [
    `${count(cell.calls)} ${cell.calls === 1 ? "call" : "calls"}${cached}`,
    `${count(cell.tokens_in)} + ${count(cell.tokens_out)} tokens`,
    duration(cell.seconds),
  ];
  const steps = Object.entries(cell.steps);
  const stepList = () => make("dl", {}, steps.map(([name, value]) => described(name, textBlock(value))));
  return make(
    "section", { class: "cell", "aria-label": cell.name },
    make("h4", { class: `v${cell.variant % 8}` }, cell.name, " ", cell.flag ? flagChip(cell.flag) : null,
      cell.warnings.flatMap((number) => [" ", chip("warn", about.warnings[number])])),
    cell.problem ? make("p", { class: "problem" }, cell.problem) : null,
    answerView(cell),
    scoreTable(cell.scores),
    make("p", { class: "aside" }, spent.join(" · ")),
    steps.length ? foldable("Steps", stepList) : null,
    cell.trace ? foldable("Trace", () => nodeView(cell.trace, true)) : make("p", { class: "aside" }, "No trace."),
  );
}

function answerView(cell) {
  if (isConversation(cell.output)) return conversationView(cell);
  return outputText(cell) ? textBlock(outputText(cell)) : make("p", { class: "aside" }, "No output.");
}

function scoreTable(scores) {
  const line = ([name, [value, detail, why]]) => {
    const said = Object.entries(detail).filter(([key]) => key !== "turns").map(([key, part]) => `${key}: ${shown(part)}`);
    return make(
      "tr", {},
      make("th", { scope: "row" }, name),
      make("td", { class: "number" }, figure(value)),
      make("td", { class: "aside" }, [why, ...said].filter(Boolean).join("; ")),
    );
  };
  const body = make("tbody", {}, Object.entries(scores).map(line));
  return make("table", { class: "scores" }, make("caption", {}, "Scores"), body);
}

// A part that is made when it is first opened.
function foldable(name, content, isOpen) {
  const details = make("details", { class: "fold", open: isOpen }, make("summary", {}, name));
  const reveal = () => {
    if (details.open && details.childElementCount === 1) details.append(content());
  };
  details.addEventListener("toggle", reveal);
  reveal();
  return details;
}

function differenceView(cells) {
  const names = cells.map((cell, number) => [String(number), cell.name]);
  const other = cells.findIndex((cell) => outputText(cell) !== outputText(cells[0]));
  const [from, to, what] = [make("select"), make("select"), make("select")];
  setOptions(from, names, "0");
  setOptions(to, names, String(other > 0 ? other : 1));
  setOptions(what, [["output", "what came out"], ["sent", "what was sent"]]);
  const place = make("div", { class: "difference", "aria-live": "polite" });
  const tags = { kept: "span", removed: "del", added: "ins" };
  const show = () => {
    const read = what.value === "sent" ? (cell) => visible(sentText(cell.trace)) : outputText;
    const [old, now] = [from, to].map((select) => read(cells[Number(select.value)]));
    const parts = compareWords(old, now).map(([change, text]) => make(tags[change], {}, text));
    place.replaceChildren(...(old === now ? [aside("No difference.")] : parts));
  };
  for (const select of [from, to, what]) select.addEventListener("change", show);
  show();
  const labels = [["From ", from], ["to ", to], ["in ", what]].map((parts) => make("label", {}, parts));
  return make(
    "section", { "aria-label": "Difference word by word" },
    make("h4", {}, "Difference, word by word"),
    make("p", { class: "controls" }, labels),
    place,
  );
}
