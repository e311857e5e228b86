"""Pictures of traces that show the numbers they were given: every token, layer, window and interval in its place."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from tokenizers.pre_tokenizers import ByteLevel

from engram.errors import BadSetting
from engram.facts import Prompt
from engram.report import Page, Picture, Section, heat_map, heat_maps, save, svg, trace_words
from engram.report.live import LIVE
from engram.report.tokens import drawable, readable
from engram.report.trace_lines import Curve, lines, severed
from engram.report.traces import interactive
from engram.traces import CATEGORIES, KINDS, Trace

TOKENS = ("The", "ĠSpace", "ĠNeed", "le", "Ġis", "Ġin", "Ġdowntown")
SHOWN = ["The*", "·Space*", "·Need*", "le*", "·is", "·in", "·downtown"]
LAYERS = 12


def traced(kind="block", window=1, tokens=TOKENS, subject=(0, 4), layers=LAYERS, **other):
    """A trace that looks like those of large models: an early site at the subject's end, a late one at the last token.

    Its largest effect at the subject is 0.41 at layer 4, its lowest −0.1 at token 5, layer 2.
    """
    effect = np.zeros((len(tokens), layers))
    effect[subject[1] - 1] = 0.41 * np.exp(-(((np.arange(layers) - 4) / 3) ** 2))
    effect[-1] = 0.59 * np.linspace(0, 1, layers) ** 2
    effect[5, 2] = -0.1
    windows = tuple((max(0, i - window // 2), min(layers, i - (-window // 2))) for i in range(layers))
    made = Trace(
        Prompt("The Space Needle is in downtown [Y]", "Seattle"), "causal_tracing", kind, tokens, subject,
        len(tokens) - 1, "Seattle", "probability", effect, np.full(effect.shape, 0.02), 0.62, 0.03, 10, windows, 7,
        {"noise": "3s", "rng": "numpy", "window": window, "model": "toy", "dtype": "float32"},
    )  # fmt: skip
    return replace(made, **other)


def words(text):
    """Every piece of text of an SVG, in its order."""
    root = ElementTree.fromstring(text)
    return ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]


def labels(axes):
    return [t.get_text() for t in axes.get_yticklabels()]


def mesh(axes):
    (found,) = (c for c in axes.collections if c.get_gid() == "effects")
    return found


# -- the heat map


def test_tokens_stand_in_their_order_with_a_star_behind_those_of_the_subject() -> None:
    figure = heat_map(traced())
    assert labels(figure.axes[0]) == SHOWN
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top, "the first token is above"
    shown = words(svg(figure))
    assert [t for t in shown if t in SHOWN] == SHOWN


def test_cells_have_the_shade_of_their_effect_and_no_shade_below_zero() -> None:
    trace = traced()
    figure = heat_map(trace)
    figure.canvas.draw()
    cells = mesh(figure.axes[0]).get_facecolor().reshape(*trace.effect.shape, 4)
    for place in ((3, 4), (6, 11), (5, 2), (0, 0), (6, 5)):
        part = max(0.0, trace.effect[place] / 0.59)
        assert cells[place] == pytest.approx(colormaps["Purples"](part), abs=0.01), place


@pytest.mark.parametrize(("kind", "shades"), [("block", "Purples"), ("ffn", "Greens"), ("attention", "Reds")])
def test_each_kind_has_the_shades_that_readers_know(kind, shades) -> None:
    assert mesh(heat_map(traced(kind)).axes[0]).get_cmap().name == shades


def test_the_bar_goes_from_corrupted_to_clean_and_names_the_unit() -> None:
    weak = traced("attention", 5)
    figure = heat_map(replace(weak, effect=weak.effect / 2))
    bar = figure.axes[1]
    assert bar.get_xlabel() == "effect on P(Seattle) (probability)"
    assert bar.get_xlim() == pytest.approx((0, 0.59)), "the whole way to the clean run"
    assert bar.images[0].get_extent()[:2] == pytest.approx([0, 0.295]), "in shade as far as the largest effect"
    shown = words(svg(figure))
    assert {"corrupted 0.030", "clean 0.620"} <= set(shown)
    far = heat_map(replace(weak, effect=weak.effect / 50))
    assert "clean 0.620, beyond →" in words(svg(far))
    nats = replace(weak, metric="logprob")
    assert heat_map(nats).axes[1].get_xlabel() == "effect on ln P(Seattle) (nats)"


def test_a_corruption_that_took_nothing_away_has_no_way_to_the_clean_run() -> None:
    figure = heat_map(traced(clean=0.01))
    assert figure.axes[1].get_xlim() == pytest.approx((0, 0.59))
    assert "corrupted 0.030, clean 0.010" in words(svg(figure))
    assert "total effect −0.020 probability" in " ".join(words(svg(figure)))


def test_the_caption_says_what_the_numbers_rest_on() -> None:
    said = " ".join(words(svg(heat_map(traced("ffn", 4, notes=("'x' stands twice",))))))
    for part in (
        "“The Space Needle is in downtown [Y]” → “Seattle”", "Asked of toy (float32)", "Clean 0.620", "corrupted 0.030",
        "total effect 0.590 probability", "10 samples", "noise 3s", "seed 7", "rng numpy", "FFNs of 4 layers restored",
        "Largest 0.590 (sd 0.020) at “·downtown”, layer 11", "last subject token 0.410 (sd 0.020) at “le”, layer 4",
        "below 0: 1 of 84 effects, the lowest −0.100 (sd 0.020) at “·in”, layer 2", "Note: 'x' stands twice.",
    ):  # fmt: skip
        assert part in said, part
    one = trace_words.caption(traced(spread=np.full((7, LAYERS), np.nan), samples=1, method="attribution_patching"))
    assert "sd" not in one
    assert "Estimated to first order (attribution patching)" in one


def test_what_is_well_below_zero_has_a_dash() -> None:
    trace = traced()
    trace.effect[4, 9] = -0.02
    (dashes,) = (line for line in heat_map(trace).axes[0].lines if line.get_gid() == "below 0")
    assert dashes.get_xydata().tolist() == [[2.5, 5.5]], "layer 2 of token 5, and not what is nearly 0"


def test_layers_whose_window_is_cut_short_are_marked_and_no_others() -> None:
    def marked(trace):
        lines_ = heat_map(trace).axes[0].lines
        return [int(g.removeprefix("short ")) for g in (x.get_gid() for x in lines_) if g.startswith("short")]

    assert marked(traced()) == []
    assert marked(traced("ffn", 10)) == [0, 1, 2, 3, 4, 8, 9, 10, 11], "offsets −5 to +4"
    assert marked(traced("ffn", 10, layers=4)) == [0, 1, 2, 3], "the whole model is less than a window"
    unasked = traced("attention", 3)
    assert marked(replace(unasked, settings={**unasked.settings, "window": None})) == [0, 11]
    axes = heat_map(traced("ffn", 10)).axes[0]
    lighter = {t.get_text(): t.get_alpha() for t in axes.get_xticklabels()}
    assert lighter["0"] < 1
    assert lighter["6"] is None
    assert axes.get_xlabel() == "middle of 10 layers"


def test_of_ranks_the_shade_is_for_what_lowers_them() -> None:
    trace = traced(metric="rank", clean=1.0, corrupted=60.0)
    trace = replace(trace, effect=-100 * trace.effect)
    figure = heat_map(trace)
    values = np.asarray(mesh(figure.axes[0]).get_array()).reshape(trace.effect.shape)
    assert np.unravel_index(values.argmax(), values.shape) == (6, 11)
    assert values[5, 2] == 0
    figure.canvas.draw()
    ticks = [t.get_text() for t in figure.axes[1].get_xticklabels()]
    assert ticks[0] == "0"
    assert ticks[1].startswith("−")
    said = " ".join(words(svg(figure)))
    assert "Largest −59.000" in said
    assert "above 0: 1 of 84 effects, the highest 10.000" in said
    data = interactive(trace)["data"][0]
    assert (data["zmin"], data["zmax"], data["reversescale"]) == (pytest.approx(-59), 0, True)


@pytest.mark.parametrize(("tokens", "layers"), [(8, 4), (30, 48), (70, 24)])
def test_any_size_can_be_drawn_and_layers_have_numbers(tokens, layers, tmp_path) -> None:
    trace = traced(tokens=("ĠSpace",) * tokens, subject=(2, 4), layers=layers)
    figure = heat_map(trace)
    save(figure, tmp_path / "a.png")
    names = [int(t.get_text()) for t in figure.axes[0].get_xticklabels()]
    assert names[0] == 0
    assert len(names) <= 24
    assert [t.get_position()[0] for t in figure.axes[0].get_xticklabels()] == [i + 0.5 for i in names]
    assert len(labels(figure.axes[0])) == tokens


def test_three_maps_share_their_tokens_and_have_their_own_shades() -> None:
    maps = [traced("block"), traced("ffn", 10), traced("attention", 5)]
    figure = heat_maps(maps)
    panels = [axes for axes in figure.axes if any(c.get_gid() == "effects" for c in axes.collections)]
    assert [axes.get_title() for axes in panels] == [
        "one block restored", "FFNs of 10 layers restored", "attention of 5 layers restored",
    ]  # fmt: skip
    assert [mesh(axes).get_cmap().name for axes in panels] == ["Purples", "Greens", "Reds"]
    assert labels(panels[0]) == SHOWN
    assert {axes.get_ylim() for axes in panels} == {(7.0, 0.0)}
    said = " ".join(words(svg(figure)))
    assert said.count("Clean 0.620") == 1
    assert all(f"{title}: largest" in said for title in ("One block restored", "FFNs of 10 layers restored"))
    assert heat_maps(maps[:1]).get_label() == heat_map(maps[0]).get_label()


def test_maps_of_several_questions_are_not_put_side_by_side() -> None:
    with pytest.raises(BadSetting, match="one prompt, one subject and one answer"):
        heat_maps([traced(), traced(answer="Cork")])
    with pytest.raises(BadSetting, match="no trace was given"):
        heat_maps([])


# -- tokens


LETTERS = " ".join(chr(i) for i in (*range(0x21, 0x500), 0x4E1C, 0x1F600) if chr(i).isprintable())  # of every byte


@pytest.mark.parametrize("text", ["The capital of Côte d'Ivoire is", "a\nb\tc", "naïve €5", "x  y", LETTERS])
def test_tokens_of_bytes_say_the_text_they_were_made_from(text) -> None:
    made = [token for token, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str(f" {text}")]
    shown = "".join(readable(made))
    assert shown == f" {text}".replace(" ", "·").replace("\n", "↵").replace("\t", "⇥")


def test_parts_of_letters_are_shown_by_the_numbers_of_their_bytes() -> None:
    made = next(token for token, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str("東"))
    assert len(made) == 3
    assert readable(["Ġx", *made])[1:] == ["\\xe6", "\\x9d", "\\xb1"]
    assert readable(["[CLS]", "café", "##ą", "[MASK]"]) == ["[CLS]", "café", "##ą", "[MASK]"], "of words, as they are"


def test_letters_and_signs_that_a_font_or_its_mathematics_would_eat_are_drawn(tmp_path) -> None:
    tokens = ("ĠæĿ±", "$x$", "Ġ$y_", "<b>&", "Ċ", "Ġin", "Ġ")
    trace = traced(tokens=tokens, prompt=Prompt("東 $x$ $y_ in [Y]", "$a_$"), answer="$a_$")
    figure = heat_map(trace)
    save(figure, tmp_path / "a.png")  # a warning of a missing glyph would fail this test
    assert labels(figure.axes[0]) == ["·\\u6771*", "$x$*", "·$y_*", "<b>&*", "↵", "·in", "·"]
    assert "$x$*" in words(svg(figure))
    assert drawable("東 and é") == "\\u6771 and é"


# -- looking into a map


def test_the_chart_has_every_number_unclipped() -> None:
    trace = traced("ffn", 4)
    chart = interactive(trace)
    plotly.graph_objects.Figure(chart)
    (data,) = chart["data"]
    assert data["z"] == trace.effect.tolist()
    assert (data["zmin"], data["zmax"]) == (0, pytest.approx(0.59))
    assert chart["layout"]["yaxis"]["ticktext"] == SHOWN
    assert chart["layout"]["yaxis"]["autorange"] == "reversed"
    assert chart["layout"]["xaxis"]["title"]["text"] == "middle of 4 layers"
    assert data["colorbar"]["title"]["text"] == "effect on P(Seattle) (probability)"
    assert data["customdata"][3][4] == (
        "<b>le*</b>, layers 2 to 5<br>effect: 0.410 ± 0.020 (sd, 10 samples) probability, +69 % of the total effect"
        "<br>restored: 0.440 probability; corrupted 0.030, clean 0.620"
    )
    assert "layers 0 to 1 (cut short)" in data["customdata"][3][0]
    assert "−0.100" in data["customdata"][5][2]


def test_a_chart_is_plain_whatever_the_tokens_are_and_however_few_the_samples() -> None:
    trace = traced(tokens=("<b>", "Ġ&amp;", *TOKENS[2:]), spread=np.full((7, LAYERS), np.nan), samples=1)
    chart = json.loads(json.dumps(interactive(trace), allow_nan=False))
    assert chart["layout"]["yaxis"]["ticktext"][:2] == ["&lt;b&gt;*", "·&amp;amp;*"]
    assert "±" not in chart["data"][0]["customdata"][0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_shades_go_away_from_the_ground_they_stand_on(kind) -> None:
    scales = interactive(traced(kind))["data"][0]["meta"]
    light, dark = ([float(np.dot((0.21, 0.72, 0.07), to_rgb(c))) for _, c in scales[g]] for g in ("light", "dark"))
    assert light == sorted(light, reverse=True)
    assert dark == sorted(dark)
    assert light[0] == 1
    assert dark[0] < 0.1
    assert [at for at, _ in scales["light"]] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_page_takes_the_shades_of_its_ground() -> None:
    trace = traced()
    picture = Picture(svg(heat_map(trace)), interactive(trace), trace_words.caption(trace, still=False))
    html = Page("traces", "of a toy", (Section("one", (picture,)),)).html()
    assert '"type":"heatmap"' in html
    assert re.search(r'"heatmap" && t\.meta\) \{ t\.colorscale = t\.meta\[dark\.matches \? "dark" : "light"\]', LIVE)
    assert LIVE in html
    assert "dash" not in picture.caption, "a chart has none"
    assert "dash" in trace_words.caption(trace)


# -- averages


def curve(category, height=0.1, facts=20, prompts=60, layers=LAYERS):
    mean = height * np.exp(-(((np.arange(layers) - 4) / 3) ** 2))
    return Curve(category, mean, mean - 0.01, mean + 0.02, facts, prompts)


def bands(axes):
    return {c.get_gid().removeprefix("band of "): c.get_paths()[0].vertices for c in axes.collections if c.get_gid()}


def test_lines_and_bands_are_those_of_the_curves() -> None:
    given = {kind: [curve(c, 0.1 * i) for i, c in enumerate(CATEGORIES)] for kind in KINDS}
    figure = lines(given, metric="logprob", about="A toy, 10 samples.")
    assert [axes.get_title() for axes in figure.axes] == ["block", "FFN", "attention"]
    for axes, kind in zip(figure.axes, KINDS, strict=True):
        drawn = {line.get_label(): line for line in axes.lines if len(line.get_xdata()) == LAYERS}
        assert set(drawn) == set(CATEGORIES)
        for c in given[kind]:
            assert drawn[c.category].get_ydata() == pytest.approx(c.mean)
            corners = {(x, round(y, 9)) for x, y in bands(axes)[c.category]}
            for edge in (c.low, c.high):
                assert {(float(i), round(y, 9)) for i, y in enumerate(edge)} <= corners
    looks = {
        (line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines if line.get_label() in CATEGORIES
    }
    assert len(looks) == len(CATEGORIES), "told apart"
    assert figure.axes[0].get_ylabel() == "average effect (nats)"
    said = " ".join(words(svg(figure)))
    assert "95 % intervals, facts resampled (bootstrap). n = 20 facts in 60 prompts. A toy, 10 samples." in said


def test_categories_of_other_numbers_say_theirs() -> None:
    figure = lines({"block": [curve("last subject"), curve("middle subject", facts=12, prompts=30), curve("last")]})
    said = " ".join(words(svg(figure)))
    assert "n = 20 facts in 60 prompts (last subject, last); 12 facts in 30 prompts (middle subject)." in said
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["middle subject", "last subject", "last"], "in the order of a prompt"


def test_one_fact_has_a_line_and_no_band() -> None:
    nothing = np.full(LAYERS, np.nan)
    figure = lines(
        {"ffn": [Curve("last", np.zeros(LAYERS), nothing, nothing, 1, 4)]}, metric="part of the total effect"
    )
    said = " ".join(words(svg(figure)))
    assert "No intervals: one fact says nothing of others. n = 1 fact in 4 prompts." in said
    assert "95 %" not in said
    assert figure.axes[0].get_ylabel() == "average effect (part of the total effect)"


def test_severed_paths_stand_beside_the_ordinary_one() -> None:
    given = [curve("last subject", h) for h in (0.3, 0.1, 0.25)]
    (axes,) = severed(given[0], ffn=given[1], attention=given[2]).axes
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines if len(line.get_xdata()) == LAYERS}
    for name, c in zip(("ordinary", "FFN severed", "attention severed"), given, strict=True):
        assert drawn[name] == pytest.approx(c.mean)
        assert bands(axes)[name][:, 1].max() == pytest.approx(c.high.max())
    assert "at the last subject token" in severed(given[0]).get_label()


def test_curves_that_cannot_be_drawn_are_refused() -> None:
    mean = np.zeros(3)
    with pytest.raises(BadSetting, match=r"'last' has \[\(3,\), \(2,\), \(3,\)\]"):
        Curve("last", mean, mean[:2], mean, 1, 1)
    with pytest.raises(BadSetting, match="no curve was given"):
        lines({"block": []})
    with pytest.raises(BadSetting, match="told apart"):
        lines({"block": [curve(f"my own {i}") for i in range(5)]})
