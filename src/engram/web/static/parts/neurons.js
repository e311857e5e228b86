// Which neurons does the answer come from? State: rule, target, every, threshold, share, neurons, layers, bins, look.

import { oneNeuron } from "../one_neuron.js";
import { layers, overview } from "../overview.js";
import { given, question } from "../question.js";
import { least, ordered, parsed, place, selected, votes } from "../selecting.js";
import { copyPython, field, h, number, percent, results, runner, table } from "../ui.js";

const RULES = {
  gauss: "gauss (recommended)", right: "right (the paper, 20 steps)", left: "left (the paper's code, 20 steps)",
  linspace: "linspace (20 steps)", trapezoid: "trapezoid (20 steps)", midpoint: "midpoint (20 steps)",
};
const SHOWN = 20; // neurons of the list, the others behind a fold
const TARGETS = { probability: "probability", logprob: "log-probability", logit: "logit" };

export default { name: "neurons", title: "Neurons", render };

function render(root, tools) {
  const { state } = tools;
  const live = results();
  let first = true; // the address may name a selection; what is located anew is selected anew
  const action = runner("Locate", async (signal) => {
    if (!first) {
      tools.set({ neurons: "", layers: "", bins: "", look: "" });
    }
    await locate(tools, live, signal);
    first = false;
  }, live);
  const extra = [choice(tools, "Integral", "rule", RULES), choice(tools, "Of the answer's", "target", TARGETS), everyTemplate(tools)];
  root.append(question(tools, action, { extra }), live.root);
  if (state.prompt && state.answer) {
    action.run();
  }
}

function choice({ state, set }, label, name, options) {
  const input = h("select", { name, onchange: (event) => set({ [name]: event.target.value }) },
    Object.entries(options).map(([value, words]) => h("option", { value, selected: state[name] === value }, words)));
  return field(label, input);
}

function everyTemplate({ state, set, page }) {
  const box = h("input", { type: "checkbox", name: "every", checked: state.every === "1", onchange: (e) => set({ every: e.target.checked ? "1" : "" }) });
  return h("label", {}, box, ` Also in the other templates of its fact, where it is one of ${page.facts}`);
}

async function locate(tools, live, signal) {
  const { state, work } = tools;
  const asked = { ...given(state), every: state.every === "1", rule: RULES[state.rule] ? state.rule : "gauss", target: TARGETS[state.target] ? state.target : "probability" };
  const found = await work("locate", asked, (p) => live.progress(p), signal);
  const page = { ...tools, told: tools.page, found, asked, chosen: new Set(), listeners: [] };
  const kept = parsed(state.neurons).filter((name) => place(name)[1] < found.widths[place(name)[0]]);
  page.chosen = new Set(kept.length ? kept : byRule(page));
  const nodes = parts(page);
  live.show(...nodes);
  live.say(summary(found));
  changed(page);
}

function summary({ prompts, widths }) {
  const [first] = prompts;
  const width = [...new Set(widths)].join("/");
  const of = prompts.length === 1 ? "" : ` Scores are the mean over ${prompts.length} prompts, this one first.`;
  return `P(${first.answer}) = ${percent(first.probability)}, rank ${first.rank}; ${widths.length} layers of ${width} neurons.${of}`;
}

const several = (page) => page.found.prompts.length > 1;
const threshold = ({ state, found }) => Math.max(found.floor, inside(state.threshold, 0.2));
const share = (page) => (several(page) ? inside(page.state.share, 0.7) : 0);
const byRule = (page) => selected(page.found.prompts, threshold(page), share(page));

function inside(text, otherwise) {
  const value = Number.parseFloat(text);
  return value >= 0 && value <= 1 ? Math.round(value * 100) / 100 : otherwise;
}

function parts(page) {
  const { found } = page;
  const one = h("div", {});
  page.look = (name) => look(page, one, name);
  const picture = overview(found, page.state, page.set, { load: (part) => nearer(page, part), toggle: (name) => toggle(page, name) });
  page.listeners.push(() => picture.mark(ordered(page.chosen)));
  if (page.state.look) {
    oneNeuron(one, page.state.look, page);
  }
  return [
    h("h2", {}, "Select"), ...sliders(page), selection(page),
    h("h2", {}, "Scores by layer and neuron"), picture.root,
    h("h2", {}, "Scores by layer"), h("p", { class: "soft" }, `The sum over a layer's neurons of |score| (${found.unit})${several(page) ? `, of scores that are the mean over ${found.prompts.length} prompts` : ""}. Press a bar to go nearer to its layer.`), layers(found, picture.go),
    h("h2", {}, "The neurons of the largest scores"), h("p", { class: "soft" }, "Tick one to select it; press one to see what it says and where it is active."), best(page), one,
    h("h2", {}, "How this was made"), made(page), python(page),
  ];
}

// Select or deselect one neuron.
function toggle(page, name) {
  if (!page.chosen.delete(name)) {
    page.chosen.add(name);
  }
  changed(page);
}

function changed(page) {
  page.set({ neurons: ordered(page.chosen).join(" ") });
  page.listeners.forEach((listener) => listener());
}

const nearer = ({ asked, work }, { layers: [first_layer, end_layer], neurons: [first_neuron, end_neuron] }) =>
  work("part", { ...asked, first_layer, end_layer, first_neuron, end_neuron });

function sliders(page) {
  const { found, set } = page;
  const says = h("p", { role: "status", "aria-live": "polite" });
  const tell = () => {
    const n = found.prompts.length;
    const count = byRule(page).length;
    const of = several(page) ? ` in at least ${least(share(page), n)} of ${n} prompts` : "";
    says.textContent = `${count} ${count === 1 ? "neuron scores" : "neurons score"} more than ${threshold(page).toFixed(2)} of the prompt's largest score${of}.`;
  };
  const slider = (name, low, value) =>
    h("input", {
      type: "range", name, min: low, max: 1, step: 0.01, value,
      oninput: (event) => {
        set({ [name]: event.target.value });
        page.chosen = new Set(byRule(page));
        tell();
        changed(page);
      },
    });
  tell();
  const low = Math.ceil(found.floor * 100) / 100;
  const fields = [field("Threshold, as a part of a prompt's largest score", slider("threshold", low, threshold(page)))];
  if (several(page)) {
    fields.push(field("Share of the prompts in which it must be exceeded", slider("share", 0, share(page))));
  }
  return [h("div", { style: { display: "grid", gridTemplateColumns: "repeat(auto-fit, minmax(16rem, 1fr))", gap: "1rem" } }, fields), says];
}

function selection(page) {
  const input = h("input", { name: "neurons", spellcheck: "false", autocomplete: "off", maxlength: 40000 });
  input.addEventListener("change", () => {
    page.chosen = new Set(parsed(input.value));
    changed(page);
  });
  const turn = h("a", {}, "Turn them down and up");
  const count = h("span", { class: "soft" });
  page.listeners.push(() => {
    input.value = ordered(page.chosen).join(" ");
    count.textContent = `${page.chosen.size} selected. `;
    turn.href = `?${new URLSearchParams({ ...page.state, part: "turn" })}`;
  });
  const rule = h("button", { type: "button", class: "small", onclick: () => again(page, byRule(page)) }, "Those of the threshold");
  const none = h("button", { type: "button", class: "small", onclick: () => again(page, []) }, "None");
  return h("div", {}, field("Selected neurons", input), h("p", {}, count, turn, " ", rule, " ", none));
}

function again(page, names) {
  page.chosen = new Set(names);
  changed(page);
}

function best(page) {
  const { found } = page;
  const rows = found.best.map((row) => bestRow(page, row));
  page.listeners.push(() => {
    const counts = votes(found.prompts, threshold(page));
    for (const { name, box, said } of rows) {
      box.checked = page.chosen.has(name);
      said.textContent = counts.get(name) || 0;
    }
  });
  const count = (title) => ({ title, number: true });
  const spread = several(page) ? [count("smallest to largest"), count(`prompts above the threshold, of ${found.prompts.length}`)] : [];
  const bare = page.asked.under.length ? [count("without the edits")] : [];
  const columns = ["selected", "neuron", count(several(page) ? `mean score (${found.unit})` : `score (${found.unit})`), ...bare, ...spread, count("part of its layer")];
  const listed = (part, caption) => table(columns, part.map((row) => row.cells), caption);
  const more = rows.length > SHOWN ? h("details", {}, h("summary", {}, `The next ${rows.length - SHOWN}`), listed(rows.slice(SHOWN), "The next")) : null;
  return h("div", {}, listed(rows.slice(0, SHOWN), "Part of its layer: |score| of the sum of |score|"), more);
}

function bestRow(page, row) {
  const name = row.neuron;
  const box = h("input", { type: "checkbox", "aria-label": `Select ${name}`, onchange: () => toggle(page, name) });
  const said = h("span", {});
  const button = h("button", { type: "button", class: "small", "aria-label": `Look at ${name}`, onclick: () => page.look(name) }, name);
  const spread = several(page) ? [`${number(row.low)} to ${number(row.high)}`, said] : [];
  return { name, box, said, cells: [box, button, number(row.score), ...(row.before === null ? [] : [number(row.before)]), ...spread, percent(row.share)] };
}

async function look(page, one, name) {
  page.set({ look: name });
  const shown = oneNeuron(one, name, page);
  one.scrollIntoView({ block: "start" });
  one.querySelector("h2").focus({ preventScroll: true });
  await shown;
}

function made({ found }) {
  const settings = Object.entries(found.settings).map(([name, value]) => `${name} ${value}`).join(", ");
  const rows = found.prompts.map((p) => [p.text, percent(p.probability), p.rank, number(p.peak)]);
  const figure = (title) => ({ title, number: true });
  const more = found.fact && found.prompts.length === 1 ? ` The sentence asks for ${found.fact}, which has ${found.templates} templates.` : "";
  return h("div", {}, h("p", { class: "soft" }, `Integrated gradients: ${settings}.${more}`),
    h("details", {}, h("summary", {}, `Prompts: ${rows.length}`),
      table(["prompt", figure("P(answer)"), figure("rank"), figure("largest score")], rows, "What was asked")));
}

// The Python of the selection by threshold and share, as they are now.
function python(page) {
  const text = h("div", {});
  page.listeners.push(() => {
    const numbers = `threshold, share = ${threshold(page)}, ${share(page)}`;
    text.replaceChildren(copyPython(page.found.python.replace(/^threshold, share = .*$/m, numbers)));
  });
  return text;
}
