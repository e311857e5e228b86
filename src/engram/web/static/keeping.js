// What becomes of an edit that was planned: held in the other parts, saved, exported, undone, or read again.

import { copyPython, field, h } from "./ui.js";

// Does the work on an event, and says in `said` what came of it; words of failure too.
const telling = (said, work) => async (event) => {
  event.preventDefault();
  try {
    said.className = "";
    said.textContent = "Working …";
    said.replaceChildren(...[await work(event)].flat());
  } catch (error) {
    said.className = "no";
    said.textContent = error.message;
  }
};

// Hold the edit that was `found` in the other parts, save it, write the whole model, or undo it: then `undone()`.
export function actions(found, tools, undone) {
  const said = h("div", { role: "status" });
  const name = h("input", { name: "save-as", required: true, maxlength: 60, pattern: "[A-Za-z0-9_\\-]+", title: "letters, digits, - and _", autocomplete: "off", spellcheck: "false", placeholder: "ireland-paris" });
  const look = telling(said, async () => {
    await tools.keptChanged(found.id);
    return "It holds in every part of this page until it is unticked above.";
  });
  const save = telling(said, async (event) => {
    const whole = event.submitter?.value === "export";
    const made = await tools.work(whole ? "export_edit" : "save_edit", { id: found.id, name: name.value });
    await tools.keptChanged();
    const several = made.folders && made.folders.length > 1 ? ", one for each edit, to be held in this order" : "";
    return [whole ? `The whole model with it is in ${made.folder}. ` : `Saved in ${made.folders.join(", ")}, a PEFT adapter${several}. `, copyPython(made.python)];
  });
  const undo = telling(said, async () => {
    await tools.work("forget_edit", { id: found.id });
    undone();
    await tools.keptChanged();
    return "";
  });
  const button = (value, words) => h("button", { type: "submit", value }, words);
  return h("div", { class: "actions" },
    h("div", { class: "run" }, h("button", { type: "button", onclick: look }, "Look under it"), h("button", { type: "button", onclick: undo }, "Undo")),
    h("form", { class: "run", style: { alignItems: "end", margin: ".6rem 0", flexWrap: "wrap" }, onsubmit: save },
      field("Save as", name), button("save", "Save as an adapter"), button("export", "Export the whole model")),
    said,
  );
}

// Edits that were saved in the runs' folder: a server that was started anew knows them too.
export function readSaved(tools) {
  if (!tools.page.saved.length) {
    return "";
  }
  const said = h("span", { role: "status" });
  const choice = h("select", { name: "saved" }, tools.page.saved.map((name) => h("option", { value: name }, name)));
  const read = telling(said, async () => {
    const { id } = await tools.work("load_edit", { name: choice.value, under: tools.state.under ? tools.state.under.split(",") : [] });
    await tools.keptChanged(id);
    return "Read; it is ticked above.";
  });
  return h("form", { class: "run", style: { alignItems: "end", margin: ".8rem 0", flexWrap: "wrap" }, onsubmit: read },
    field("Saved edits", choice), h("button", { type: "submit" }, "Look under it"), said);
}
