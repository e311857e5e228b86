// The layer × neuron picture: pooled by the server, gone nearer to by a box, by a form, or by a layer's bar.

import { chart, field, h, number, table } from "./ui.js";
import { place } from "./selecting.js";

const HIGH = "#2f7fd1";
const GREY = "#8b959f";
const LISTED = 20; // cells of what is seen, as a table
// Below 0 orange, above 0 blue; 0 lets the page through, be it light or dark.
// The shade goes with the square root, or a single large score would hide all others.
const SHADES = [0, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 1];
const SCALE = [
  ...[...SHADES].reverse().map((x) => [0.5 - x / 2 - (x ? 0 : 1e-6), `rgba(217,102,31,${Math.sqrt(x)})`]),
  ...SHADES.map((x) => [0.5 + x / 2 + (x ? 0 : 1e-6), `rgba(47,127,209,${Math.sqrt(x)})`]),
];
const MARK = "#d6336c";

// `load(part)` asks for a part of the picture; `toggle(name)` selects a neuron. Returns { root, mark(names) }.
export function overview(found, state, set, { load, toggle }) {
  const drawing = h("div", { style: { minHeight: "0" }, role: "group", "aria-label": "Scores by layer and neuron; the same neurons are in the list below" });
  const says = h("p", { class: "soft", role: "status" });
  const whole = found.overview;
  const here = { part: whole, marked: [], listening: false };

  const listed = h("div", {});
  const fold = h("details", {}, h("summary", {}, "The strongest of what is seen, as a table"), listed);

  async function draw() {
    says.textContent = words(here.part);
    listed.replaceChildren(strongest(here.part, here.marked, found, toggle));
    await chart(drawing, figure(here.part, here.marked, found), "engram-neurons");
    if (!here.listening) {
      here.listening = true;
      drawing.on("plotly_click", (event) => toggle(event.points[0].text || event.points[0].customdata));
      drawing.on("plotly_relayout", (range) => moved(range, here.part, go));
    }
  }

  async function go(part) {
    set({ layers: part ? part.layers.join("-") : "", bins: part ? part.neurons.join("-") : "" });
    try {
      here.part = part ? await load(part) : whole;
      await draw();
    } catch (error) {
      here.part = whole;
      await draw();
      says.textContent = error.message;
    }
    form.fill(here.part);
  }

  const form = nearer(whole, go);
  const start = asked(state);
  if (start) {
    go(start);
  } else {
    draw();
  }
  const mark = (names) => {
    here.marked = names;
    return draw();
  };
  return { root: h("div", {}, drawing, says, form.root, fold), mark, go };
}

// The part of the picture that the address names.
function asked(state) {
  const pair = (text) => (/^\d+-\d+$/.test(text || "") ? text.split("-").map(Number) : null);
  const layers = pair(state.layers);
  const neurons = pair(state.bins);
  return layers && neurons ? { layers, neurons } : null;
}

function words({ layers, neurons, size }) {
  const shade = " The shade is the square root of |score|.";
  const seen = `layers ${layers[0]} to ${layers[1] - 1}, neurons ${neurons[0]} to ${neurons[1] - 1}`;
  return size === 1
    ? `Seen: ${seen}; a cell is one neuron. Click one to select it.${shade}`
    : `Seen: ${seen}; a cell shows the strongest of ${size} neurons. Click it to select that one; draw a box to go nearer.${shade}`;
}

// A box was drawn in the picture, or its whole asked for by a double click.
function moved(range, part, go) {
  if (range["xaxis.autorange"] || range["yaxis.autorange"]) {
    go(null);
    return;
  }
  const ends = (axis, given) => {
    const [a, b] = [range[`${axis}.range[0]`], range[`${axis}.range[1]`]];
    if (a === undefined) {
      return given;
    }
    const low = Math.max(given[0], Math.ceil(Math.min(a, b)));
    return [low, Math.max(low + 1, Math.min(given[1], Math.floor(Math.max(a, b)) + 1))];
  };
  if (Object.keys(range).some((key) => key.includes(".range["))) {
    go({ layers: ends("yaxis", part.layers), neurons: ends("xaxis", part.neurons) });
  }
}

function nearer(whole, go) {
  const input = (name, value, max) => h("input", { type: "number", name, min: 0, max, value, step: 1 });
  const [layers, neurons] = [whole.layers[1] - 1, whole.neurons[1] - 1];
  const inputs = {
    first_layer: input("first_layer", 0, layers), last_layer: input("last_layer", layers, layers),
    first_neuron: input("first_neuron", 0, neurons), last_neuron: input("last_neuron", neurons, neurons),
  };
  const value = (name) => Number(inputs[name].value) || 0;
  const submit = (event) => {
    event.preventDefault();
    go({
      layers: [value("first_layer"), Math.max(value("first_layer"), value("last_layer")) + 1],
      neurons: [value("first_neuron"), Math.max(value("first_neuron"), value("last_neuron")) + 1],
    });
  };
  const fill = (part) => {
    const ends = [part.layers[0], part.layers[1] - 1, part.neurons[0], part.neurons[1] - 1];
    Object.values(inputs).forEach((one, i) => {
      one.value = ends[i];
    });
  };
  const labels = ["Layer from", "to", "Neuron from", "to"];
  const narrow = (one) => {
    one.style.flex = "0 1 7rem";
    return one;
  };
  const row = { display: "flex", flexWrap: "wrap", gap: ".6rem", alignItems: "end" };
  const root = h("form", { onsubmit: submit, style: row },
    Object.values(inputs).map((one, i) => narrow(field(labels[i], one))),
    h("button", { type: "submit" }, "Go nearer"), h("button", { type: "button", onclick: () => go(null) }, "Show all"));
  return { root, fill };
}

function figure(part, marked, found) {
  const top = largest(part.values);
  const [first, end] = part.neurons;
  const seen = (name) => {
    const [layer, neuron] = place(name);
    return layer >= part.layers[0] && layer < part.layers[1] && neuron >= first && neuron < end;
  };
  const names = marked.filter(seen);
  const strongest = part.strongest.map((row, i) => row.map((neuron) => (neuron === null ? "" : `L${part.layers[0] + i}.${neuron}`)));
  const of = part.size === 1 ? "" : `<br>the strongest of ${part.size} around it`;
  const heat = {
    type: "heatmap", z: part.values, customdata: strongest, x0: first + (part.size - 1) / 2, dx: part.size,
    y0: part.layers[0], dy: 1, zmin: -top, zmax: top, colorscale: SCALE,
    hovertemplate: `%{customdata}: %{z:.3g} ${found.unit}${of}<extra></extra>`, hoverongaps: false,
    colorbar: { title: { text: found.unit, side: "right" }, thickness: 12, exponentformat: "power" },
  };
  const marks = {
    type: "scatter", mode: "markers", cliponaxis: false, x: names.map((n) => place(n)[1]), y: names.map((n) => place(n)[0]), text: names,
    marker: { symbol: "square-open", size: 11, color: MARK, line: { width: 2 } }, hovertemplate: "%{text}, selected<extra></extra>",
  };
  const rows = part.layers[1] - part.layers[0];
  const layout = {
    height: Math.max(220, Math.min(720, 110 + 24 * rows)), showlegend: false, margin: { l: 48, r: 8, t: 32, b: 44 },
    xaxis: { title: { text: "neuron" }, range: [first - 0.5, end - 0.5], showgrid: false, zeroline: false },
    yaxis: { title: { text: "layer" }, range: [part.layers[0] - 0.5, part.layers[1] - 0.5], showgrid: false, zeroline: false, ...(rows <= 16 ? { dtick: 1 } : {}) },
  };
  return { data: [heat, marks], layout };
}

// The cells of largest absolute value: what the picture shows, for those who do not point.
function strongest(part, marked, found, toggle) {
  const cells = part.values.flatMap((row, i) => row.map((value, j) => ({ value, name: `L${part.layers[0] + i}.${part.strongest[i][j]}` })));
  const best = cells.filter(({ value }) => value !== null).sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, LISTED);
  const box = (name) => h("input", { type: "checkbox", "aria-label": `Select ${name}`, "data-seen": name, checked: marked.includes(name), onchange: () => toggle(name) });
  return table(["selected", "neuron", { title: `score (${found.unit})`, number: true }], best.map(({ value, name }) => [box(name), name, number(value)]),
    `The ${best.length} strongest of layers ${part.layers[0]} to ${part.layers[1] - 1}, neurons ${part.neurons[0]} to ${part.neurons[1] - 1}`);
}

// The largest absolute value; each part of the picture has colours of its own, or nothing would be seen near by.
const largest = (values) => values.reduce((most, row) => row.reduce((best, x) => Math.max(best, Math.abs(x || 0)), most), 1e-12);

// A bar for each layer: the sum of its neurons' absolute mean scores. A click goes nearer to it.
export function layers(found, go) {
  const drawing = h("div", { style: { minHeight: "0" }, role: "group", "aria-label": "Sum of the absolute scores of each layer" });
  const rows = found.layers;
  const missed = (row) => (row.gap === null ? "" : `<br>sum ${number(row.sum)}, silence costs ${number(row.change)}, gap ${number(row.gap)}`);
  const bars = {
    type: "bar", x: rows.map((row) => row.layer), y: rows.map((row) => row.absolute), marker: { color: HIGH },
    customdata: rows.map(missed), hovertemplate: `layer %{x}: %{y:.3g} ${found.unit}%{customdata}<extra></extra>`, name: "under the edits",
  };
  const bare = {
    type: "bar", x: bars.x, y: rows.map((row) => row.before), marker: { color: GREY }, name: "without the edits",
    hovertemplate: `layer %{x}, without the edits: %{y:.3g} ${found.unit}<extra></extra>`,
  };
  const both = rows.some((row) => row.before !== null);
  const layout = {
    height: both ? 270 : 230, showlegend: both, barmode: "group", legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" }, margin: { l: 56, r: 8, t: 32, b: 44 },
    xaxis: { title: { text: "layer" }, ...(rows.length <= 24 ? { dtick: 1 } : {}) }, yaxis: { title: { text: "sum of |score|" } },
  };
  chart(drawing, { data: both ? [bare, bars] : [bars], layout }, "engram-layers").then(() => {
    drawing.on("plotly_click", (event) => go({ layers: [event.points[0].x, event.points[0].x + 1], neurons: found.overview.neurons }));
  });
  return drawing;
}
