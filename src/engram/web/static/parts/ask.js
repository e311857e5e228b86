// Ask: what does the model say at the blank, and from which layer on?

import { given, question } from "../question.js";
import { bar, chart, colours, copyPython, h, number, percent, results, runner, table } from "../ui.js";

function render(root, tools) {
  const live = results();
  const action = runner("Ask", (signal) => ask(tools, live, signal), live);
  const count = h("input", {
    type: "number", min: 1, max: 50, required: true, value: tools.state.top || 10, oninput: (event) => tools.set({ top: event.target.value }),
  });
  const other = h("input", {
    name: "beside", list: "models", maxlength: 300, value: tools.state.beside || "", autocomplete: "off", spellcheck: "false", placeholder: "none",
    oninput: (event) => tools.set({ beside: event.target.value.trim() }),
  });
  const extra = [tools.ui.field("Answers shown", count), tools.ui.field("Beside another model", other)];
  root.append(question(tools, action, { extra }), live.root);
  if (tools.state.prompt && tools.state.answer) {
    action.run();
  }
}

async function ask(tools, live, signal) {
  const asked = { ...given(tools.state), top: Number(tools.state.top || 10) };
  const found = await tools.work("ask", asked, (now) => live.progress(now), signal);
  const beside = tools.state.beside ? await other(tools, live, asked, signal) : null;
  const both = [[asked, found], ...(beside ? [beside] : [])];
  live.show(h("div", { class: beside ? "beside" : null }, both.map(([one, said]) => h("div", {}, beside ? h("h2", {}, said.model) : null, shown(one, said)))));
  live.say(both.map(([one, said]) => verdict(one, said)).join("; "));
  const places = [...live.root.querySelectorAll(".layers")];
  const worst = Math.max(...both.map(([, said]) => ranks(said)[0]));
  await Promise.all(places.map((place, i) => layers(place, both[i][1], worst)));
}

// The same asked of another model; edits are of one model alone.
async function other(tools, live, asked, signal) {
  const given = { ...asked, under: [] };
  return [given, await tools.work("ask", given, (now) => live.progress(now), signal, { of: tools.state.beside })];
}

function shown(asked, found) {
  const parts = [answers(asked, found)];
  if (found.base) {
    parts.push(h("p", {}, `Without the edits: rank ${found.base.rank}, ${percent(found.base.probability)}; first ${found.base.top[0][0]}.`));
  }
  parts.push(h("h2", {}, "Layer by layer"));
  parts.push(note(found.base_layers), h("div", { class: "layers" }), layerTable(found));
  return [...parts, copyPython(found.python)];
}

function verdict(asked, { answer, vocabulary, model }) {
  const pieces = answer.tokens.length > 1 ? `, ${answer.tokens.length} tokens` : "";
  return `${asked.answer}: rank ${answer.rank} of ${vocabulary.toLocaleString("en")}, ${percent(answer.probability)}${pieces} (${model})`;
}

// The best single tokens; of an answer of several tokens, those for its first.
function answers(asked, { answer, before }) {
  const rows = answer.top.map(([word, part], i) => [
    i + 1,
    word === asked.answer ? h("strong", {}, word) : word || "(blank)",
    bar(part, percent(part), word === asked.answer ? "yes" : ""),
    ...(before ? [before[i] === null ? "not in its first 1,000" : percent(before[i])] : []),
  ]);
  const columns = [{ title: "rank", number: true }, "token", "probability", ...(before ? [{ title: "without edits", number: true }] : [])];
  const which = answer.tokens.length > 1 ? "The best tokens where the answer begins" : "The best tokens at the blank";
  return table(columns, rows, which);
}

const note = (base) =>
  h("p", { class: "soft" }, "The logit lens: what leaves each block, read by the model's own end as if no block came after it. The last layer's is the model's answer. A rank that comes late is no proof that a layer does not know.", base ? " Dotted: without the edits." : "");

function layerTable({ layers, base_layers }) {
  const cells = (one) => [one.rank.toLocaleString("en"), percent(one.probability), number(one.logprob, 4), one.top[0][0] || "(blank)"];
  const heads = ["rank", "probability", "log-probability (nats)", "first"].map((title, i) => ({ title, number: i < 3 }));
  const without = base_layers ? heads.map((head) => ({ ...head, title: `${head.title}, without edits` })) : [];
  const rows = layers.map((one, i) => [one.layer, ...cells(one), ...(base_layers ? cells(base_layers[i]) : [])]);
  const columns = [{ title: "layer", number: true }, ...heads, ...without];
  return h("details", {}, h("summary", {}, "As a table"), table(columns, rows, "The answer by layer"));
}

async function layers(place, found, worst) {
  const { mark, yes } = colours();
  const lines = (of, dash) => [line(of, "rank", mark, "y", dash), line(of, "probability", yes, "y2", dash)];
  const base = found.base_layers ? lines(found.base_layers, "dot") : [];
  await chart(place, {
    data: [...base, ...lines(found.layers, "solid")],
    layout: {
      height: 420,
      showlegend: false,
      xaxis: { title: { text: "layer" }, tickmode: found.layers.length > 24 ? "auto" : "linear", dtick: 1, anchor: "y2" },
      yaxis: { title: { text: "rank (1 is first)" }, type: "log", range: [worst, ranks(found)[1]], dtick: 1, domain: [0.56, 1] },
      yaxis2: { title: { text: "probability" }, range: [-0.02, 1.02], domain: [0, 0.44] },
    },
  }, "answer by layer");
}

function line(found, name, colour, axis, dash) {
  return {
    type: "scatter", mode: "lines+markers", yaxis: axis, line: { color: colour, dash }, x: found.map((one) => one.layer),
    y: found.map((one) => one[name]), text: found.map((one) => `${dash === "dot" ? "without the edits, " : ""}first: ${one.top[0][0]}`),
    hovertemplate: `layer %{x}<br>${name} %{y}<br>%{text}<extra></extra>`,
  };
}

// From below the worst rank up to above the first, as powers of ten.
function ranks({ layers, base_layers }) {
  const worst = Math.max(10, ...[...layers, ...(base_layers || [])].map((one) => one.rank));
  return [Math.log10(worst) + 0.2, -0.15];
}

export default { name: "ask", title: "Ask", render };
