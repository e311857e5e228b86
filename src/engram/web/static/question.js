// The question that Ask, Neurons, Turn, Trace and Edit share: a sentence with its blank, the answer, the subject.

import { field, h } from "./ui.js";

// The question as views take it: { prompt, answer, under } (and subject, where `withSubject`).
export function given(state) {
  return { prompt: state.prompt || "", answer: state.answer || "", under: under(state) };
}

// The ids of kept edits that the page is looked at under.
export const under = (state) => (state.under ? state.under.split(",") : []);

// A form with the question, `extra` fields and a button; submitted by Enter. `action` is what ui.runner gives out.
// `subject` says whether the part needs one.
export function question(tools, action, { subject = false, extra = [] } = {}) {
  const { state, set } = tools;
  const input = (name, attrs) =>
    h("input", { name, value: state[name] || "", autocomplete: "off", spellcheck: "false", oninput: (e) => set({ [name]: e.target.value }), ...attrs });
  const submit = (event) => {
    event.preventDefault();
    action.run();
  };
  return h("form", { class: "question", onsubmit: submit },
    field("Prompt, with [Y] where the answer belongs", input("prompt", { required: true, maxlength: 2000, placeholder: "The capital of Ireland is [Y]." })),
    field("Answer", input("answer", { required: true, maxlength: 200, placeholder: "Dublin" })),
    subject ? field("Subject, as it stands in the prompt", input("subject", { maxlength: 200, placeholder: "Ireland" })) : null,
    ...extra,
    action.root,
  );
}
