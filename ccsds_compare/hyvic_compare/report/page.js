// Shows what the selectors and the codec buttons say. The page's data come from charts.py and page.py.
"use strict";
const { charts, base } = JSON.parse(document.getElementById("comparison").textContent);
const state = {};
const off = new Set();
const config = {
  responsive: true, displaylogo: false, showSendToCloud: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: { format: "svg" },
};

function draw() {
  for (const [name, chart] of Object.entries(charts)) {
    const place = document.getElementById(name);
    const figure = chart.figures[chart.keys.map((key) => state[key]).join("|")] ?? { data: [], layout: {} };
    const data = figure.data.map((trace) => ({ ...trace, visible: off.has(trace.meta) ? "legendonly" : true }));
    const layout = { ...structuredClone(base), height: chart.height };
    for (const [key, value] of Object.entries(figure.layout)) {
      const shared = base[key.replace(/\d$/, "")];
      layout[key] = shared === undefined ? value : { ...shared, ...value };
    }
    Plotly.react(place, data, layout, config);
  }
  for (const element of document.querySelectorAll("[data-when], [data-codec]")) {
    const wanted = [...new URLSearchParams(element.dataset.when ?? "")];
    element.hidden = off.has(element.dataset.codec) || !wanted.every(([key, value]) => state[key] === value);
  }
}

for (const select of document.querySelectorAll("select")) {
  state[select.dataset.key] = select.value;
  select.addEventListener("change", () => {
    state[select.dataset.key] = select.value;
    for (const twin of document.querySelectorAll("select")) twin.value = state[twin.dataset.key];
    draw();
  });
}

for (const chip of document.querySelectorAll(".chip")) {
  if (chip.getAttribute("aria-pressed") === "false") off.add(chip.dataset.toggle);
  chip.addEventListener("click", () => {
    const hide = !off.has(chip.dataset.toggle);
    off[hide ? "add" : "delete"](chip.dataset.toggle);
    chip.setAttribute("aria-pressed", String(!hide));
    draw();
  });
}
draw();
