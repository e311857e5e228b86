// A run's chapter, drawn: its sections, tables, and pictures, which can be saved.

import { get } from "./api.js";
import { chart, colours, copyPython, h, isDark, table } from "./ui.js";

// Fetches and draws it in `place`; `download(path, name)` saves a file.
export async function chapter(place, run, download) {
  place.replaceChildren(h("p", { role: "status" }, "Drawing what the run found …"));
  try {
    const found = await get(`/api/runs/chapter?${new URLSearchParams({ run })}`);
    const save = (name, kind) => download(`/api/runs/figure?${new URLSearchParams({ run, name, kind })}`, `${run}-${name}.${kind}`);
    const parts = found.parts.map((part) => drawn(part, { save, head: "h3" }));
    const python = found.figures.length ? [h("h3", {}, "All figures as files"), copyPython(found.python)] : [];
    place.replaceChildren(h("h2", {}, found.title), h("p", {}, found.asks), ...parts, ...python);
  } catch (error) {
    place.replaceChildren(h("p", { role: "status", class: "status error" }, error.message));
  }
}

function drawn(part, how) {
  const inside = (parts) => parts.map((inner) => drawn(inner, { ...how, head: "h4" }));
  switch (part.kind) {
    case "section":
      return h("section", {}, h(how.head, {}, part.title), inside(part.parts));
    case "folded":
      return h("details", {}, h("summary", {}, part.line), inside(part.parts));
    case "table":
      return table(part.columns.map((column) => ({ title: column.name, number: column.number })), part.rows.map((row) => row.map(cell)), part.caption);
    case "items":
      return h("ul", {}, part.entries.map((entry, i) => h("li", {}, verdict(part.verdicts[i]), entry)));
    case "picture":
      return picture(part, how);
    default:
      return h("p", {}, part.text);
  }
}

const VERDICTS = { yes: "met: ", no: "not met: ", open: "open: " };
const verdict = (kind) => (kind ? h("b", {}, VERDICTS[kind] || "") : null);

// What follows the first line of a cell is shown small, below it.
function cell(text) {
  const [first, ...more] = text.split("\n");
  return more.length ? h("span", {}, first, h("small", { style: { display: "block", maxWidth: "17rem" } }, more.join(" "))) : first;
}

function picture(part, how) {
  const place = h("div", { style: { overflowX: "auto" } });
  const title = part.chart?.layout?.title?.text || "";
  const button = (kind) => h("button", { type: "button", class: "small", onclick: () => saved(kind) }, kind.toUpperCase());
  const said = h("span", { role: "status", class: "soft" });
  async function saved(kind) {
    said.textContent = "";
    try {
      await how.save(part.figure, kind);
    } catch (error) {
      said.textContent = error.message;
    }
  }
  if (part.chart) {
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", `${title}. ${part.caption}`);
    whenSeen(place, () => chart(place, () => adapted(part.chart), part.figure || "engram").catch((error) => place.replaceChildren(error.message)));
  } else {
    place.append(still(part.svg));
  }
  return h("figure", { style: { margin: "1.2rem 0", maxWidth: "56rem" } },
    part.chart ? h("b", {}, title) : null,
    place,
    h("figcaption", { class: "soft" }, part.chart ? part.caption : null, part.figure ? h("div", {}, "Save as ", button("svg"), " ", button("png"), " ", said) : null));
}

// The server's own picture as elements: parsed as SVG, never as HTML, and without anything that could run.
function still(text) {
  const found = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  found.querySelectorAll("script, foreignObject, style").forEach((node) => node.remove());
  found.removeAttribute("width");
  found.removeAttribute("height");
  Object.assign(found.style, { display: "block", width: "100%", minWidth: "34rem", height: "auto" });
  return found;
}

// A figure of a report, in the page's own frame: its title stands above it.
function adapted(figure) {
  const copy = structuredClone(figure);
  copy.layout = { ...copy.layout, title: undefined, margin: { l: 56, r: 16, t: copy.layout.showlegend ? 40 : 16, b: 48 } };
  copy.layout.legend = { orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom" };
  const { ink } = colours();
  for (const trace of copy.data) {
    for (const error of [trace.error_x, trace.error_y].filter(Boolean)) {
      error.color = ink;
    }
    if (trace.type === "heatmap" && trace.meta) {
      trace.colorscale = trace.meta[isDark() ? "dark" : "light"];
    }
  }
  return copy;
}

// Charts below the screen are drawn when they come near it: a page of twenty would not answer.
function whenSeen(place, draw) {
  const watch = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      watch.disconnect();
      draw();
    }
  }, { rootMargin: "600px" });
  place.style.minHeight = "12rem";
  watch.observe(place);
}
