// The score of each variant on the rows that share a value of a field.

function showSlices() {
  const field = chosen("slice-field");
  const metric = chosenMetric("slice-metric");
  if (!field || !metric) {
    find("slice-table").replaceChildren(aside(`No field has between 2 and ${MOST_VALUES} values.`));
    return;
  }
  const groups = new Map(distinct.get(field).map((value) => [value, []]));
  for (const row of rows) groups.get(textOf(valueOf(row, field))).push(row);
  const head = make(
    "tr", {},
    make("th", { scope: "col" }, field),
    make("th", { scope: "col", class: "number" }, "Rows"),
    about.variants.map((each, number) => make("th", { scope: "col", class: `v${number % 8}` }, each.name)),
  );
  const line = ([value, group]) => make(
    "tr", {},
    make("th", { scope: "row" }, sliceButton(field, value)),
    make("td", { class: "number" }, count(group.length)),
    about.variants.map((_, number) => make("td", {}, sliceScore(group, number, metric))),
  );
  const table = make(
    "table", {},
    make("caption", {}, `${metric.name} by ${field}, exploratory`),
    make("thead", {}, head),
    make("tbody", {}, [...groups].map(line)),
  );
  const intervals = `Intervals at 95 %, ${metric.binary ? "Wilson's" : "by the variance of the scores"}; a row counts once.`;
  const none = "No interval: this score has no bounds.";
  find("slice-table").replaceChildren(
    make("div", { class: "scroll", role: "region", "aria-label": `${metric.name} by ${field}` }, table),
    make("p", { class: "aside" }, metric.bounds ? intervals : none),
  );
  tabOnlyToScroll();
}

// A slice's name lists its rows; there is no filter for an empty value.
function sliceButton(field, value) {
  if (value === "") return "(none)";
  const list = () => {
    find("field").value = field;
    showValues();
    find("value").value = value;
    update();
    find("rows").scrollIntoView();
    find("rows").focus({ preventScroll: true });
  };
  return make("button", { type: "button", class: "link", title: "List these rows", onclick: list }, value);
}

function sliceScore(group, number, metric) {
  const scores = group.map((row) => scoreOf(row.of[number], metric)).filter((score) => score !== null);
  const score = mean(scores);
  if (score === null) return "–";
  if (!metric.bounds) return make("b", {}, figure(score));
  const [start, end] = metric.bounds;
  const span = end - start || 1;
  const shares = scores.map((value) => (value - start) / span);
  const ends = metric.binary ? wilson((score - start) / span, scores.length) : gradedInterval(shares);
  if (ends === null) return make("b", {}, figure(score));
  const [low, high] = ends.map((share) => start + share * span);
  const x = (value) => 4 + ((value - start) / span) * 112;
  return [
    make("b", {}, figure(score)),
    make("span", { class: "interval" }, ` [${figure(low)}, ${figure(high)}]`),
    draw(
      "svg", { class: `bar v${number % 8}`, viewBox: "0 0 120 16", width: 120, height: 16, "aria-hidden": "true" },
      draw("line", { class: "axis", x1: 4, x2: 116, y1: 8, y2: 8 }),
      draw("line", { class: "range", x1: x(low), x2: x(high), y1: 8, y2: 8 }),
      draw("circle", { cx: x(score), cy: 8, r: 3.5 }),
    ),
  ];
}
