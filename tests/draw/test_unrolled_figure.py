from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from elman.apply.explain import explain
from elman.draw.figures import pyplot
from elman.draw.unrolled_figure import unrolled_figure
from elman.errors import MissingExtra

TEXT = "the zebra sees a dog"


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"elman\[plot\]"):
        pyplot()


@pytest.mark.parametrize("shape", [{}, {"cell": "lstm", "layers": 2, "bias": True}, {"cell": "feedforward"}])
def test_a_figure_holds_every_word_every_norm_and_the_names_of_the_matrices(
    drawn: Callable[..., Any], shape: dict
) -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    found = explain(drawn(**shape), TEXT)
    figure = unrolled_figure(found)
    net, errors, words = figure.axes[:3]
    said = {text.get_text() for text in net.texts}
    assert {step.symbol for step in found.steps} <= said and "V" in said
    heights = [bar.get_height() for bar in errors.patches]
    assert len(heights) == found.at
    assert heights[0] == pytest.approx(found.why_at.errors[-2 if "lstm" in shape.values() else 0].norms[0])
    assert len(words.get_yticklabels()) == len(found.steps)
    file = BytesIO()
    figure.savefig(file, format="svg")
    assert b"<svg" in file.getvalue()
    pyplot().close(figure)


def test_a_dollar_in_a_text_is_no_formula(drawn: Callable[..., Any]) -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    figure = unrolled_figure(explain(drawn(), "the $x cat$ sees"))
    figure.savefig(BytesIO(), format="png")
    pyplot().close(figure)
