// What is one neuron for? The words that its value slot raises and lowers, and the prompts in which it is most active.

import { bar, chart, colours, copyPython, h, number, results, table } from "./ui.js";

// Shows it in `place`; asks twice, one after the other.
export async function oneNeuron(place, name, { work, asked, told }) {
  const given = { neuron: name, under: asked.under };
  const live = results();
  place.replaceChildren(h("h2", { tabindex: "-1" }, `Neuron ${name}`), live.root);
  live.busy(`Reading ${name} …`);
  try {
    const slot = await work("slot", given).catch((error) => ({ error }));
    const active = await work("activating", given, (p) => live.progress(p));
    const drawing = h("div", { style: { minHeight: "0" }, role: "group", "aria-label": `Mean activation of ${name} in each relation` });
    live.show(says(slot), h("h3", {}, "Where it is active"), ...where(active, told.facts),
      h("h3", {}, "Its mean in each relation"), h("p", { class: "soft" }, `${active.relations[0].n} facts of each, with 95 % intervals over facts.`), drawing, copyPython(active.python));
    await relations(drawing, active);
  } catch (error) {
    live.fail(error);
  }
}

function says(slot) {
  const title = h("h3", {}, "What its value slot says");
  if (slot.error) {
    return h("div", {}, title, h("p", {}, slot.error.message));
  }
  const most = Math.max(...[...slot.top, ...slot.bottom].map(([, x]) => Math.abs(x)));
  const cells = ([word, x], kind) => [word, bar(Math.abs(x) / most, number(x), kind)];
  const rows = slot.top.map((one, i) => [...cells(one, "yes"), ...cells(slot.bottom[i], "no")]);
  return h("div", {}, title,
    h("p", { class: "soft" }, "The row of the FFN's second map that it adds, times the unembedding: logits per unit of activation, were nothing in between. What normalises and transforms on the way to the answer is passed by."),
    table(["raises", "logits", "lowers", "logits"], rows, `Words at the ends of the slot`), copyPython(slot.python));
}

export function filled(text, answer) {
  const [before, after] = text.split("[Y]");
  return h("span", {}, before, h("b", {}, answer), after);
}

function where(active, facts) {
  const { quantiles, n } = active;
  const rows = active.prompts.map((p) => [number(p.value), filled(p.text, p.answer), p.relation.replaceAll("_", " ")]);
  return [
    h("p", { class: "soft" }, `Its activation at the blank in ${n} prompts of ${facts}, one for each fact: half of them below ${number(quantiles["0.5"])}, one in twenty above ${number(quantiles["0.95"])}.`),
    table([{ title: "activation", number: true }, "prompt (the model does not see the answer)", "relation"], rows, `The ${rows.length} prompts of the largest activation`),
  ];
}

function relations(drawing, active) {
  const rows = [...active.relations].reverse();
  const reach = (end) => rows.map((r) => (r.interval ? Math.abs(r.interval[end] - r.mean) : NaN));
  const bars = {
    type: "bar", orientation: "h", x: rows.map((r) => r.mean), y: rows.map((r) => r.relation.replaceAll("_", " ")), marker: { color: "#2f7fd1" },
    error_x: { type: "data", symmetric: false, array: reach(1), arrayminus: reach(0), thickness: 1, width: 3, color: colours().ink },
    customdata: rows.map((r) => r.n), hovertemplate: "%{y}: %{x:.3g}, %{customdata} facts<extra></extra>",
  };
  const layout = {
    height: 110 + 18 * rows.length, margin: { l: 120, r: 16, t: 32, b: 44 },
    xaxis: { title: { text: "mean activation" } }, yaxis: { dtick: 1, tickfont: { size: 11 } },
  };
  return chart(drawing, { data: [bars], layout }, "engram-activation");
}
