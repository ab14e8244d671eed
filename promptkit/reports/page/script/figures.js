// Cost against score, and how long cells took. Drawn as wide as there is room, so that text keeps its size.

const COSTS = ["tokens", "calls", "seconds", "cost"].map((key) => [key, `${key} a row`]);
const BINS = 36;
const roomOf = (place) => Math.min(660, Math.max(280, place.clientWidth));

const SHAPES = [
  (x, y) => draw("circle", { cx: x, cy: y, r: 5.5 }),
  (x, y) => draw("rect", { x: x - 5, y: y - 5, width: 10, height: 10 }),
  (x, y) => draw("path", { d: `M${x} ${y - 6.5}L${x + 6} ${y + 4.5}H${x - 6}Z` }),
  (x, y) => draw("path", { d: `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z` }),
];

// What a variant took for each answered cell; null where it is not known.
function costOf(variant, key) {
  const answered = (variant.cases ?? 0) - (variant.missing ?? 0);
  const spent = key === "tokens" ? (variant.tokens_in ?? 0) + (variant.tokens_out ?? 0) : variant[key];
  return spent === null || spent === undefined || !answered ? null : spent / answered;
}

function prepareFigures() {
  const known = COSTS.filter(([key]) => about.variants.some((each) => costOf(each, key) !== null));
  setOptions(find("scatter-cost"), known);
}

function ticks(low, high, most) {
  const raw = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const found = [];
  const first = Math.ceil(low / step) || 0; // -0 would be written with its sign
  for (let at = first; at * step <= high + step * 1e-9; at += 1) found.push(at * step);
  return found;
}

function showScatter() {
  const metric = about.metrics[Number(chosen("scatter-metric"))];
  const [key, costName] = COSTS.find(([each]) => each === chosen("scatter-cost")) ?? COSTS[0];
  const points = about.variants
    .map((each, number) => ({ number, name: each.name, x: costOf(each, key), ...each.metrics[metric] }))
    .filter((point) => point.x !== null && typeof point.mean === "number")
    .map((point) => ({ ...point, low: point.low ?? point.mean, high: point.high ?? point.mean }));
  const chart = points.length ? scatterChart(points, metric, costName) : aside("Nothing to draw yet.");
  find("scatter").replaceChildren(chart);
}

function scatterChart(points, metric, costName) {
  const [width, height, left, right, top, bottom] = [roomOf(find("scatter")), 320, 56, 18, 14, 44];
  const [least, most] = [Math.min(...points.map((each) => each.low)), Math.max(...points.map((each) => each.high))];
  const room = (most - least) * 0.08 || 0.05;
  const [low, high] = [least - room, most + room];
  const dearest = Math.max(...points.map((point) => point.x)) * 1.12 || 1;
  const x = (value) => left + (value / dearest) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const said = points.map((point) =>
    `${point.name}: ${figure(point.mean)}, interval ${figure(point.low)} to ${figure(point.high)}, ` +
    `at ${figure(point.x)} ${costName}`);
  const label = `${metric} against ${costName}. ${said.join(". ")}`;
  const base = height - bottom;
  return draw(
    "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" },
    ticks(low, high, 5).flatMap((value) => [
      draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      draw("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, tickText(value)),
    ]),
    ticks(0, dearest, width / 90).map((value) =>
      draw("text", { x: x(value), y: base + 18, "text-anchor": "middle" }, tickText(value))),
    draw("line", { class: "axis", x1: left, x2: width - right, y1: base, y2: base }),
    draw("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, costName),
    placedApart(points, x, y).map(({ point, beside }) => {
      const at = x(point.x);
      const toLeft = at > width * 0.72;
      return draw(
        "g", { class: `series v${point.number % 8}` },
        draw("line", { class: "whisker", x1: at, x2: at, y1: y(point.low), y2: y(point.high) }),
        SHAPES[point.number % SHAPES.length](at, y(point.mean)),
        draw("text", { x: at + (toLeft ? -10 : 10), y: beside, "text-anchor": toLeft ? "end" : "start" }, point.name),
      );
    }),
  );
}

// Names of points that lie close together stand one above the other.
function placedApart(points, x, y) {
  const placed = [];
  for (const point of [...points].sort((a, b) => a.mean - b.mean)) {
    const near = placed.filter((each) => Math.abs(x(each.point.x) - x(point.x)) < 90).map((each) => each.beside);
    placed.push({ point, beside: Math.min(y(point.mean) - 8, ...near.map((at) => at - 15)) });
  }
  return placed;
}

function showLatency() {
  const answered = (number) => rows.flatMap((row) => row.of[number].filter((cell) => cell.flag !== "error"));
  const times = about.variants.map((_, number) => answered(number).map((cell) => cell.seconds).sort((a, b) => a - b));
  const most = Math.max(1e-3, ...times.filter((each) => each.length).map((each) => quantile(each, 0.99)));
  find("latency").replaceChildren(
    ...about.variants.map((each, number) => latencyChart(each.name, number, times[number], most)),
    make("p", { class: "aside" }, "The solid line is the median, the broken one the 95th percentile. " +
      "The last column holds all that took longer than it."),
  );
}

function latencyChart(name, number, sorted, most) {
  if (!sorted.length) return make("p", { class: "aside" }, `${name}: no answer yet`);
  const bins = new Array(BINS).fill(0);
  for (const time of sorted) bins[Math.min(BINS - 1, Math.floor((time / most) * BINS))] += 1;
  const [width, height, base] = [roomOf(find("latency")), 78, 56];
  const [step, highest] = [width / BINS, Math.max(...bins)];
  const said = `median ${duration(quantile(sorted, 0.5))}, 95th percentile ${duration(quantile(sorted, 0.95))}`;
  const line = (share, kind) => {
    const at = Math.min(width - 1, (quantile(sorted, share) / most) * width);
    return draw("line", { class: `quantile ${kind}`, x1: at, x2: at, y1: 0, y2: base });
  };
  const column = (number, at) => {
    const tall = (number / highest) * base;
    return draw("rect", { x: at * step + 0.5, width: step - 1, y: base - tall, height: tall });
  };
  const label = `Histogram of seconds, ${name}: ${said}`;
  return make(
    "div", { class: "latency" },
    make("p", {}, make("span", { class: `name v${number % 8}` }, name), " ", aside(said)),
    draw(
      "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" },
      draw("g", { class: `series v${number % 8}` }, bins.map(column)),
      line(0.5, "median"),
      line(0.95, "high"),
      draw("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }),
      ticks(0, most, width / 90).map((value) =>
        draw("text", { x: Math.min(width - 30, (value / most) * width), y: height - 6 }, duration(value))),
    ),
  );
}
