// Which tokens and layers bring the answer back? State: kinds, samples, noise, window, seed, and traced once it was run.

import { given, question } from "../question.js";
import { chart, colours, copyPython, field, h, isDark, number, results, runner, table } from "../ui.js";

const KINDS = { block: "blocks", ffn: "FFNs", attention: "attention" };

export default { name: "trace", title: "Trace", render };

function render(root, tools) {
  const { state } = tools;
  const live = results();
  const start = async (signal) => {
    tools.set({ traced: 1 }); // now, so that a page that is closed meanwhile finds it again
    const found = await tools.work("trace", asked(state), (done) => live.progress(done), signal);
    live.show(...pictures(found));
    await drawn(live.root, found);
  };
  const action = runner("Trace", start, live);
  root.append(
    h("p", {}, "The subject is made unreadable, and one place of the network at a time gets back what it had: ",
      "how much of the answer comes back with it?"),
    question(tools, action, { subject: true, extra: settings(tools) }),
    live.root,
  );
  if (state.traced && state.prompt && state.answer && state.subject) {
    action.run();
  }
}

const chosen = (state) => (state.kinds || Object.keys(KINDS).join(",")).split(",").filter((kind) => kind in KINDS);

function asked(state) {
  const whole = (name) => (state[name] ? { [name]: Number(state[name]) } : {});
  return {
    ...given(state),
    subject: state.subject || "",
    kinds: chosen(state),
    ...(state.noise ? { noise: state.noise } : {}),
    ...whole("samples"),
    ...whole("window"),
    ...whole("seed"),
  };
}

function settings(tools) {
  const { state, set } = tools;
  const input = (name, attrs) =>
    h("input", { name, value: state[name] || "", autocomplete: "off", oninput: (e) => set({ [name]: e.target.value }), ...attrs });
  const toggle = (event) => {
    const now = chosen(state).filter((kind) => kind !== event.target.value);
    const next = Object.keys(KINDS).filter((kind) => now.includes(kind) || (kind === event.target.value && event.target.checked));
    if (next.length) {
      set({ kinds: next.length === 3 ? "" : next.join(",") });
    } else {
      event.target.checked = true; // something has to be restored
    }
  };
  const box = (kind) =>
    h("label", { style: { marginRight: ".8rem", display: "inline-block", whiteSpace: "nowrap" } }, h("input", { type: "checkbox", name: "kinds", value: kind, checked: chosen(state).includes(kind), onchange: toggle }), ` ${KINDS[kind]}`);
  return [
    h("fieldset", { style: { margin: "0", alignSelf: "start" } }, h("legend", {}, "Restored"), Object.keys(KINDS).map(box)),
    field("Samples", input("samples", { type: "number", min: 1, max: 100, placeholder: "10" })),
    field("Noise", input("noise", { maxlength: 200, placeholder: "3s" }), "3s is three sd of the embeddings; also 0.1, uniform:3s, zero, mean, replace:Italy"),
    field("Window of FFNs and attention", input("window", { type: "number", min: 1, max: 200, placeholder: "default" }), "in layers; by default a quarter of them, 10 at most"),
    field("Seed", input("seed", { type: "number", min: 0, max: 2147483647, placeholder: "0" })),
  ];
}

// Side by side as far as there is room; drawn by `drawn`, once they are in the page.
function pictures(found) {
  const several = found.arms.length > 1;
  return [
    ...found.arms.flatMap((arm, i) => [
      several ? h("h2", {}, arm.says[0].toUpperCase() + arm.says.slice(1)) : null,
      h("div", { class: "maps", style: grid() }, arm.traces.map((trace) => map(trace, i, arm.says, several ? "h3" : "h2"))),
      h("p", { class: "soft" }, arm.caption),
    ]),
    several ? h("p", { class: "soft" }, "Both rows have one scale for each kind, so that their shades can be compared.") : null,
    copyPython(found.python),
  ].filter(Boolean);
}

const grid = () => ({ display: "grid", gap: "1rem", gridTemplateColumns: "repeat(auto-fit, minmax(min(100%, 20rem), 1fr))" });

function map(trace, arm, says, head) {
  const { token, layer, effect, spread } = trace.largest;
  const sd = spread === null ? "" : `, sd ${number(spread)} over ${trace.samples} samples`;
  const words = `${trace.restored}: ${trace.measured}, largest ${number(effect)}${sd} at ${trace.tokens[token]}, layer ${layer}`;
  const columns = ["token", ...trace.windows.map((_, i) => ({ title: `${i}`, number: true }))];
  const rows = trace.tokens.map((name, i) => [name, ...trace.effect[i].map((value) => number(value))]);
  return h("figure", { style: { margin: "0", minWidth: "0" } },
    h(head, {}, trace.restored[0].toUpperCase() + trace.restored.slice(1)),
    h("div", { class: "map", style: { minHeight: "0" }, role: "group", "aria-label": `Heat map, ${says}: ${words}`, "data-map": `${arm}-${trace.kind}` }),
    h("figcaption", { class: "soft" }, `Shade: ${trace.measured}. Largest: ${number(effect)} ${trace.unit}${sd}, at ${trace.tokens[token]}, layer ${layer}.`),
    h("details", {}, h("summary", {}, "The numbers"), table(columns, rows, `${trace.measured}, by token and layer, mean of n=${trace.samples}`)),
  );
}

function drawn(root, found) {
  const top = {}; // of each kind, over base and edited
  for (const trace of found.arms.flatMap((arm) => arm.traces)) {
    top[trace.kind] = Math.max(top[trace.kind] || 0, trace.figure.data[0].zmax);
  }
  const all = found.arms.flatMap((arm, i) => arm.traces.map((trace) => ({ trace, place: root.querySelector(`[data-map="${i}-${trace.kind}"]`) })));
  return Promise.all(all.map(({ trace, place }) => chart(place, () => figure(trace, top[trace.kind]), `trace-${trace.kind}`)));
}

// The trace's own figure without its title, in the shades that the page's ground asks for.
function figure(trace, top) {
  const [heat] = trace.figure.data;
  const { title, ...layout } = trace.figure.layout;
  return {
    data: [{ ...heat, zmax: top, customdata: heat.customdata.map((row) => row.map((text) => folded(text))), colorscale: heat.meta[isDark() ? "dark" : "light"], colorbar: { ...heat.colorbar, title: undefined } }],
    layout: { ...layout, xaxis: { ...layout.xaxis, title: { ...layout.xaxis.title, standoff: 4 } }, plot_bgcolor: colours().line, height: 140 + 24 * trace.tokens.length, margin: { l: 40, r: 8, t: 32, b: 56 } },
  };
}

// What hangs under the mouse, in lines that a narrow map has room for.
function folded(text, most = 36) {
  const lines = [];
  for (const line of text.split("<br>")) {
    let now = "";
    for (const word of line.split(" ")) {
      if (now && now.length + word.length >= most) {
        lines.push(now);
        now = "";
      }
      now = now ? `${now} ${word}` : word;
    }
    lines.push(now);
  }
  return lines.join("<br>");
}
