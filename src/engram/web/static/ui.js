// What every part is built of. Text goes in as text: nothing here reads HTML.

// h("p", { class: "soft", onclick: f }, "words", h("b", {}, "more")): an element.
export function h(tag, attrs = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value === undefined || value === null || value === false) {
      continue;
    }
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (name === "style") {
      Object.assign(element.style, value);
    } else if (name === "value" || name === "checked") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// columns: ["name", …] or [{ title, number: true, title_long }, …]; rows: arrays of text, numbers or elements.
export function table(columns, rows, caption = "") {
  const heads = columns.map((column) => (typeof column === "string" ? { title: column } : column));
  const cell = (tag, i, ...content) => h(tag, { class: heads[i].number ? "n" : null, scope: tag === "th" ? "col" : null }, ...content);
  const head = h("tr", {}, heads.map((column, i) => cell("th", i, column.title)));
  const body = rows.map((row) => h("tr", {}, row.map((value, i) => cell("td", i, value instanceof Node ? value : String(value)))));
  return h("div", { class: "wide", tabindex: "0", role: "group", "aria-label": caption || "table" },
    h("table", {}, caption ? h("caption", {}, caption) : null, h("thead", {}, head), h("tbody", {}, body)));
}

// A label above its input; `note` stands below it. `input` gets an id if it has none.
let fields = 0;
export function field(label, input, note = "") {
  fields += 1;
  input.id = input.id || `field-${fields}`;
  const small = note ? h("small", { id: `${input.id}-note` }, note) : null;
  if (small) {
    input.setAttribute("aria-describedby", small.id);
  }
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, small);
}

// Draws a plotly figure {data, layout} in `element`, in the page's colours; drawn again when they change. Where the
// figure has colours of its own that go with them, it is given as a function that makes it.
// `name` is that of a downloaded picture. Resolves when it is drawn.
const drawn = new Map();
export async function chart(element, figure, name = "engram") {
  element.classList.add("chart");
  drawn.set(element, { make: typeof figure === "function" ? figure : () => figure, name, seen: false });
  await draw(element);
}

async function draw(element) {
  const { make, name } = drawn.get(element);
  const plotly = await library();
  letGo(plotly);
  const figure = make();
  await plotly.react(element, figure.data, { ...layout(), ...figure.layout, ...axes(figure.layout || {}) }, {
    displaylogo: false,
    responsive: true,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "svg", filename: name },
  });
}

// Plotly listens to the window for each of its drawings: it stops for those that have left the page.
function letGo(plotly) {
  for (const [element, one] of drawn) {
    if (one.seen && !element.isConnected) {
      plotly.purge(element);
      drawn.delete(element);
    }
    one.seen = element.isConnected;
  }
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The page's colours by name, for figures: ink, line, ground, soft, yes, no, mark.
export const colours = () =>
  Object.fromEntries(["ink", "line", "ground", "soft", "box", "yes", "no", "mark"].map((name) => [name, colour(`--${name}`)]));

export const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function layout() {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    hoverlabel: { bgcolor: colour("--ground"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink") },
    margin: { l: 56, r: 16, t: 40, b: 48 },
  };
}

function axes(given) {
  const lines = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line") };
  const names = new Set(["xaxis", "yaxis", ...Object.keys(given).filter((key) => /^[xy]axis/.test(key))]);
  return Object.fromEntries([...names].map((key) => [key, { automargin: true, ...lines, ...given[key] }]));
}

// plotly.js is large: it is fetched when the first chart is drawn.
let loading = null;
function library() {
  loading = loading || new Promise((resolve, reject) => {
    const script = h("script", { src: "/static/plotly.js" });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null;
      reject(new Error("plotly.js did not come; is engram serve still running?"));
    };
    document.head.append(script);
  });
  return loading;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  [...drawn.keys()].filter((element) => element.isConnected).forEach(draw);
});

// A button that copies the Python that makes a result, and the text itself behind a fold.
export function copyPython(text) {
  const button = h("button", { type: "button", class: "small" }, "Copy the Python that makes this");
  const said = h("span", { role: "status", class: "soft" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "Copied.";
    } catch {
      said.textContent = "The browser does not let the page copy; mark the text below.";
      fold.open = true;
    }
  });
  const fold = h("details", {}, h("summary", {}, "Show it"), h("pre", { tabindex: "0" }, text));
  return h("div", { class: "python" }, button, " ", said, fold);
}

// A number's hyphens as the minus signs that they mean.
export const minus = (text) => text.replaceAll("-", "−");

// 0.1234 → "12.3 %"; null → "–".
export const percent = (part) => (part === null || part === undefined ? "–" : `${part < 0.001 && part > 0 ? (100 * part).toPrecision(2) : (100 * part).toFixed(1)} %`);

// A number in so many significant digits; null → "–".
export const number = (value, digits = 3) =>
  value === null || value === undefined ? "–" : minus(Number(value).toPrecision(digits).replace(/^(-?\d+\.\d*?)0+$/, "$1").replace(/\.$/, ""));

// A bar of this part of the whole (0 … 1), with its words beside it.
export function bar(part, words, kind = "") {
  const width = `${Math.max(0, Math.min(1, part || 0)) * 100}%`;
  return h("span", { class: "bar" }, h("span", { class: "track" }, h("span", { class: `fill ${kind}`, style: { width } })), h("span", { class: "words" }, words));
}

// A place for results that is read out when it changes: live.busy(words), live.progress({done,total}), live.fail(error), live.show(...nodes).
export function results() {
  const status = h("p", { role: "status", "aria-live": "polite", class: "status" });
  const shown = h("div", { class: "shown" });
  const meter = h("progress", { max: "1", hidden: true, "aria-label": "progress" });
  const root = h("div", { class: "results" }, status, meter, shown);
  return {
    root,
    busy(words = "Working …") {
      status.className = "status";
      status.textContent = words;
      meter.hidden = false;
      meter.removeAttribute("value");
      root.setAttribute("aria-busy", "true");
    },
    progress({ done, total, says }) {
      status.textContent = says || (total ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : "Working …");
      if (total) {
        meter.value = done / total;
      } else {
        meter.removeAttribute("value");
      }
    },
    fail(error) {
      this.idle();
      status.className = "status error";
      status.textContent = error.message || String(error);
      shown.replaceChildren();
    },
    show(...nodes) {
      this.idle();
      shown.replaceChildren(...nodes);
    },
    say(words) {
      status.className = "status told";
      status.textContent = words;
    },
    idle() {
      root.removeAttribute("aria-busy");
      meter.hidden = true;
      status.className = "status";
      status.textContent = "";
    },
  };
}

// A button that starts work and, while it runs, one that cancels it. `start(signal)` is async.
// Returns { root, run }: run() does what a click does.
export function runner(label, start, live) {
  let stop = null;
  const go = h("button", { type: "submit", class: "go" }, label);
  const cancel = h("button", { type: "button", hidden: true, onclick: () => stop && stop.abort() }, "Cancel");
  async function run() {
    if (stop) {
      return;
    }
    stop = new AbortController();
    const focused = root.contains(document.activeElement);
    go.disabled = true;
    cancel.hidden = false;
    live.busy();
    try {
      await start(stop.signal);
    } catch (error) {
      live.fail(error);
    } finally {
      stop = null;
      go.disabled = false;
      cancel.hidden = true;
      if (focused) {
        go.focus();
      }
    }
  }
  const root = h("div", { class: "run" }, go, cancel);
  return { root, run };
}
