"""Charts that answer to the mouse: plotly's own script, put into the page once, and what draws with it."""

from __future__ import annotations

HEAD = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data: blob:\">"
)  # the browser itself sees to it that nothing is fetched

LIVE = """
(function () {
  var charts = document.querySelectorAll(".chart");
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var tools = { displaylogo: false, responsive: true,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  function draw() {
    var style = getComputedStyle(document.documentElement);
    var ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
    var ground = style.getPropertyValue("--ground").trim();
    charts.forEach(function (place) {
      var figure = JSON.parse(place.querySelector("script").textContent);
      figure.layout.paper_bgcolor = figure.layout.plot_bgcolor = "rgba(0,0,0,0)";
      figure.layout.font = { color: ink, family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 12 };
      figure.layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink };
      figure.layout.hoverlabel = { bgcolor: ground, bordercolor: line, font: { color: ink } };
      figure.layout.legend = { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom" };
      figure.layout.margin = { l: 60, r: 20, t: 64, b: 48 };
      figure.layout.title.x = 0; figure.layout.title.xanchor = "left"; figure.layout.title.xref = "container";
      figure.layout.title.y = 1; figure.layout.title.yanchor = "top"; figure.layout.title.yref = "container";
      figure.layout.title.pad = { t: 6 }; figure.layout.title.font = { size: 15, weight: 600 };
      Object.keys(figure.layout).filter(function (k) { return /^[xy]axis/.test(k); }).forEach(function (k) {
        figure.layout[k].gridcolor = line; figure.layout[k].zerolinecolor = ink; figure.layout[k].linecolor = ink;
      });
      figure.data.forEach(function (t) {
        ["error_x", "error_y"].forEach(function (k) { if (t[k]) { t[k].color = ink; } });
        if (t.type === "heatmap" && t.meta) { t.colorscale = t.meta[dark.matches ? "dark" : "light"]; }
        if (t.mode === "markers") { t.marker.line = { color: ground, width: 1 }; }
      });
      Plotly.react(place.querySelector(".drawing"), figure.data, figure.layout, tools);
    });
  }
  document.documentElement.classList.add("live");
  try { draw(); } catch (error) { document.documentElement.classList.remove("live"); throw error; }
  dark.addEventListener("change", draw);
})();
"""


def library() -> str:
    """The text of plotly.js, as the plotly package has it: five megabytes, and no network."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
