// Which neurons do a threshold and a share select? The rule of selectors.Shared, in the page: no model is asked.

// `prompts`: [{ peak, scores: [[layer, neuron, score], …] }, …]. A neuron has a prompt's vote when its score is strictly
// more than threshold · peak; as numpy compares, in single precision. Gives a Map from "L3.17" to its votes.
export function votes(prompts, threshold) {
  const counts = new Map();
  for (const { peak, scores } of prompts) {
    const cut = Math.fround(threshold * peak);
    for (const [layer, neuron, score] of scores) {
      if (score > cut) {
        const name = `L${layer}.${neuron}`;
        counts.set(name, (counts.get(name) || 0) + 1);
      }
    }
  }
  return counts;
}

// In how many of `n` prompts must a neuron have a vote? In more than the share of them, which is exact to hundredths.
export const least = (share, n) => Math.max(1, Math.floor((Math.round(share * 100) * n) / 100) + 1);

// The names of the selected neurons, by layer and index.
export function selected(prompts, threshold, share) {
  const enough = least(share, prompts.length);
  return ordered([...votes(prompts, threshold)].filter(([, count]) => count >= enough).map(([name]) => name));
}

// "L3.17, L2.4" → ["L2.4", "L3.17"]; what is no neuron is left out.
export const parsed = (text) => ordered([...new Set(String(text || "").match(/\bL\d+\.\d+\b/g) || [])]);

export const place = (name) => name.slice(1).split(".").map(Number);

export function ordered(names) {
  const order = (a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1];
  return [...names].sort(order);
}
