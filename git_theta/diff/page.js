"use strict";
// The report: data from the page enter, charts and tables leave. Text is set as text, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = [
  { key: "name", title: "group" },
  { key: "kind", title: "change" },
  { key: "dtype", title: "dtype" },
  { key: "shape", title: "shape" },
  { key: "share", title: "changed", number: true },
  { key: "relative", title: "‖Δ‖/‖W‖", number: true },
  { key: "largest", title: "max |Δ|", number: true },
  { key: "cosine", title: "cosine", number: true },
  { key: "bytes", title: "stored", number: true },
];
const redraws = [];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function layout(extra) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: 12 },
    margin: { l: 10, r: 10, t: 8, b: 40 },
    ...extra,
  };
}

function draw(node, traces, extra) {
  const show = () => Plotly.react(node, traces(), layout(extra()), { responsive: true, displaylogo: false, displayModeBar: false });
  redraws.push(show);
  show();
  return show;
}

function heatmap(file, node) {
  const map = file.heatmap;
  // Gaps must leave something of the cells, and labels of layers need room: names and scale take about half of a phone.
  const across = Math.max(120, node.clientWidth - 320);
  const gap = across / map.layers.length >= 6 ? 1 : 0;
  const widest = Math.max(...map.layers.map((layer) => layer.length));
  const room = Math.max(2, Math.floor(across / (8 * widest + 12)));
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((step) => map.layers.length / step <= room) ?? 1000;
  const ticks = map.layers.filter((_, at) => at % every === 0);
  draw(node, () => [{
    type: "heatmap", x: map.layers, y: map.kinds, z: map.values, customdata: map.texts,
    hovertemplate: "%{customdata}<extra></extra>", hoverongaps: false, xgap: gap, ygap: gap,
    // On either ground, what changed little is close to the ground.
    colorscale: document.documentElement.dataset.theme === "dark" ? "Viridis" : "YlOrRd",
    reversescale: document.documentElement.dataset.theme !== "dark",
    colorbar: { title: { text: "log₁₀ ‖Δ‖/‖W‖", side: "right" }, thickness: 12, outlinewidth: 0 },
  }, {
    type: "scatter", mode: "markers", showlegend: false,
    x: map.loud.map((one) => one[0]), y: map.loud.map((one) => one[1]), customdata: map.loud.map((one) => one[2]),
    marker: { symbol: "x", size: 11, color: colour("--ink"), line: { width: 1, color: colour("--card") } },
    hovertemplate: "%{customdata}<extra></extra>",
  }], () => ({
    height: Math.max(300, 60 + 24 * map.kinds.length),
    xaxis: { title: { text: "layer" }, type: "category", showgrid: false, automargin: true, tickangle: 0, tickmode: "array", tickvals: ticks },
    yaxis: { type: "category", autorange: "reversed", showgrid: false, automargin: true, tickfont: { size: 11 } },
  }));
}

function histogram(file, node, title) {
  let group = null;
  const show = draw(node, () => [{
    type: "bar", x: group ? group.histogram.edges : [], y: group ? group.histogram.counts : [],
    marker: { color: colour("--accent") }, hovertemplate: "2^%{x} to 2^(%{x}+1): %{y:,}<extra></extra>",
  }], () => ({
    height: 300, bargap: 0.05,
    xaxis: { title: { text: "|Δ|, as a power of two" }, gridcolor: colour("--line"), zeroline: false },
    yaxis: { title: { text: "elements" }, gridcolor: colour("--line"), zeroline: false, automargin: true },
  }));
  return (chosen) => {
    group = chosen;
    title.textContent = chosen.title;
    show();
  };
}

// A narrow column breaks a name after its dots and underscores.
function breakable(name) {
  return name.split(/(?<=[._])/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));
}

function cell(group, column) {
  const value = group[column.key];
  const td = make("td", column.number ? { class: "number" } : {});
  if (column.key === "name") {
    td.className = "name";
    td.append(make("span", {}, ...breakable(group.title)));
    for (const remark of group.remarks) td.append(make("small", remark.loud ? { class: "loud" } : {}, remark.text));
  } else {
    td.textContent = group.texts[column.key] ?? (value === null ? "" : value);
  }
  if (column.key === "kind") td.className = value;
  return td;
}

function compare(a, b, column, direction) {
  const [x, y] = [a[column.key], b[column.key]];
  if (x === null || y === null) return (x === null) - (y === null);
  const order = column.number ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
  return direction * order;
}

function table(file, choose) {
  const body = make("tbody");
  const columns = COLUMNS.filter((column) => file.groups.some((group) => group[column.key] !== null));
  const search = make("input", { type: "search", placeholder: "Filter by name, dtype or remark", "aria-label": "Filter" });
  const kinds = make("select", { "aria-label": "Kind of change" }, make("option", { value: "" }, "every change"));
  for (const kind of new Set(file.groups.map((group) => group.kind))) kinds.append(make("option", { value: kind }, kind));
  const count = make("span", { class: "count" });
  let sorted = null;
  let direction = 1;
  let selected = null;

  function fill() {
    const wanted = search.value.toLowerCase();
    let rows = file.groups.filter((group) => (!kinds.value || group.kind === kinds.value) && group.haystack.includes(wanted));
    if (sorted) rows = [...rows].sort((a, b) => compare(a, b, sorted, direction));
    count.textContent = `${rows.length.toLocaleString("en")} of ${file.groups.length.toLocaleString("en")}`;
    body.replaceChildren(...rows.map((group) => {
      const tr = make("tr", group === selected ? { "aria-selected": "true" } : {}, ...columns.map((column) => cell(group, column)));
      if (group.histogram && choose) {
        tr.classList.add("pick");
        tr.tabIndex = 0;
        const pick = () => { selected = group; choose(group); fill(); };
        tr.addEventListener("click", pick);
        tr.addEventListener("keydown", (event) => { if (event.key === "Enter") pick(); });
      }
      return tr;
    }));
  }

  const head = make("tr");
  for (const column of columns) {
    const th = make("th", column.number ? { class: "number" } : {});
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      direction = sorted === column ? -direction : column.number ? -1 : 1;
      sorted = column;
      for (const other of head.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      fill();
    });
    th.append(button);
    head.append(th);
  }
  search.addEventListener("input", fill);
  kinds.addEventListener("change", fill);
  selected = file.groups.find((group) => group.name === file.first) ?? null;
  fill();
  return make("div", { class: "card" },
    make("div", { class: "controls" }, search, kinds, count),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), body)));
}

function values(file) {
  const rows = file.values.map((leaf) => make("tr", {}, ...[leaf.path, leaf.old ?? "(absent)", leaf.new ?? "(absent)"].map(
    (text) => make("td", { class: "name" }, text))));
  const head = make("tr", {}, ...["value", "old", "new"].map((title) => make("th", {}, title)));
  return make("div", { class: "card" }, make("h3", {}, "Values besides tensors"),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows))));
}

function section(file) {
  const node = make("section", {}, make("h2", {}, file.title), make("p", {}, file.totals));
  for (const note of file.notes) node.append(make("p", {}, note));
  document.querySelector("main").append(node);
  if (file.alerts.length) {
    node.append(make("div", { class: "card alerts", role: "alert" },
      make("ul", {}, ...file.alerts.map((text) => make("li", {}, text)))));
  }
  const charts = make("div", { class: "charts" });
  node.append(charts);
  const map = make("div", { class: "chart" });
  const bars = make("div", { class: "chart" });
  const title = make("code");
  const first = file.groups.find((group) => group.name === file.first);
  if (file.heatmap) charts.append(make("div", { class: "card" }, make("h3", {}, "Change per layer and kind of parameter"), map));
  if (first) charts.append(make("div", { class: "card" }, make("h3", {}, "Changes by magnitude: ", title), bars));
  // Charts take the width of their cards, so all cards come first.
  if (file.heatmap) heatmap(file, map);
  const choose = first ? histogram(file, bars, title) : null;
  if (first) choose(first);
  if (file.groups.length) node.append(table(file, choose));
  if (file.values.length) node.append(values(file));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
  for (const redraw of redraws) redraw();
}

document.getElementById("theme").addEventListener("click", () => {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
});
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
for (const file of DATA.files) section(file);
if (!DATA.files.length) document.querySelector("main").append(make("p", {}, "No checkpoint differs."));
document.documentElement.dataset.ready = "true";
