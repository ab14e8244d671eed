// The page comes to life: read, list, then draw.

function showValues() {
  const field = chosen("field");
  find("value").disabled = field === "";
  find("value").value = "";
  find("values").replaceChildren(...(distinct.get(field) ?? []).map((value) => make("option", { value })));
}

function showFigures() {
  showScatter();
  showLatency();
}

// A table takes a place in the tab order only where it is wider than its room.
function tabOnlyToScroll() {
  for (const each of document.querySelectorAll(".scroll")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    else each.removeAttribute("tabindex");
  }
}

function listen() {
  const form = find("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.id === "field") showValues();
    if (event.target.id === "sort") descending = false;
    update();
  });
  form.addEventListener("reset", () => {
    setTimeout(() => {
      descending = false;
      showValues();
      update();
    });
  });
  const turn = (by) => {
    page += by;
    showList();
    find("list").scrollIntoView();
  };
  find("previous").addEventListener("click", () => turn(-1));
  find("next").addEventListener("click", () => turn(1));
  find("search").addEventListener("keydown", searchKey);
  find("list").addEventListener("keydown", listKey);
  document.addEventListener("keydown", pageKey);
  for (const id of ["scatter-metric", "scatter-cost"]) find(id).addEventListener("change", showScatter);
  for (const id of ["slice-field", "slice-metric"]) find(id).addEventListener("change", showSlices);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width === innerWidth) return;
    width = innerWidth;
    showFigures();
    tabOnlyToScroll();
  });
}

async function start() {
  try {
    await readRun();
    prepareFilters();
    prepareFigures();
    listen();
    update();
  } catch (problem) {
    find("count").textContent = `The rows cannot be read: ${problem.message}`;
    throw problem;
  }
  requestAnimationFrame(() => {
    setTimeout(() => {
      document.documentElement.dataset.ready = String(Math.round(performance.now())); // The list is on the screen.
      showFigures();
      showSlices();
    });
  });
}

start();
