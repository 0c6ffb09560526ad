"""Cross-validation: each example judged once, by what saw nothing of it, with settings chosen on what it saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from elman.apply import validate as module
from elman.apply.classify import mean_of, probabilities
from elman.apply.validate import Split, Trial, validate
from elman.errors import TextError, UsageError
from elman.learn.classify import classifier_settings
from elman.learn.logistic import PENALTIES
from elman.learn.several import Plan, fit_whole, numbered
from elman.network.classifier_folder import ClassifierModel
from elman.text.labelled import Example, Labelled

TINY = {"unit": "dna", "hidden": 4, "epochs": 1, "threads": 1}


def trial(nets: Sequence[str] = ("linear",), plan: Plan | None = None, **settings: Any) -> Trial:
    return Trial("", classifier_settings(TINY | settings)[0], plan or Plan(ngrams=1), tuple(nets))


def windows(count: int, seed: int) -> Labelled:
    """Ten bases, and the label says which one is the third: composition hardly knows it, the place does."""
    draw = np.random.default_rng(seed)
    sequences = ["".join(draw.choice(list("acgt"), 10)) for _ in range(count)]
    return Labelled("w.tsv", [Example(i + 1, "x" if s[2] in "ag" else "y", s) for i, s in enumerate(sequences)])


def test_the_place_is_learnt_where_composition_knows_little_and_each_example_is_judged_once() -> None:
    found = validate(windows(90, 1), [trial(("linear", "linear_places"), Plan(ngrams=1, places=2))], folds=5)
    assert found.scores["linear_places"].accuracy > 0.9 > 0.8 > found.scores["linear"].accuracy
    assert sorted(np.concatenate([fold.test for fold in found.folds]).tolist()) == list(range(90))
    assert {fold.net for fold in found.folds} == {"linear_places"}
    assert found.scores["chosen"] == found.scores["linear_places"]
    assert found.confusion.sum() == 90 and np.trace(found.confusion) == found.scores["chosen"].right
    assert found.apart is None  # no sequence stands twice


def test_nothing_of_a_test_part_is_learnt_from_or_chosen_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """With other labels and sequences in a test part, what is chosen for it and learnt for it stays the same."""
    data, seen = windows(60, 2), []

    class Watched(Split):
        def of_nets(self, trial: Trial, nets: Sequence[str], penalties: dict[str, float]) -> dict[str, Any]:
            front, train, _ = self.encoded(trial)
            targets = numbered(self.train.labels, self.labels)
            model = fit_whole(front, train, targets, self.labels, trial.settings, trial.plan, penalties, only=nets)
            seen.append((set(self.train.sequences), set(self.held.sequences), model.nets.linear.V.detach().clone()))
            return super().of_nets(trial, nets, penalties)

    monkeypatch.setattr(module, "Split", Watched)
    first = validate(data, [trial()], folds=3)
    examples = list(data.examples)
    for index in first.folds[0].test:
        examples[index] = Example(int(index) + 1, examples[index].label, "ccccccccgg")
    second = validate(Labelled("w.tsv", examples), [trial()], folds=3)
    assert np.array_equal(first.folds[0].test, second.folds[0].test)
    assert first.folds[0].choices == second.folds[0].choices
    assert (seen[0][2] == seen[3][2]).all() and (
        seen[1][2].shape != seen[4][2].shape or (seen[1][2] != seen[4][2]).any()
    )
    assert all(not train & held for train, held, _ in seen[:3])


def test_leaving_one_out_judges_every_example_by_all_others() -> None:
    found = validate(windows(12, 3), [trial()], folds=None, inner=2)
    assert [fold.test.tolist() for fold in found.folds] == [[i] for i in range(12)]
    assert {fold.learnt for fold in found.folds} == {11}


def test_the_penalty_and_the_try_are_those_with_the_least_loss_on_inner_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {(0, penalty): 1.0 for penalty in PENALTIES} | {(1, penalty): 0.9 for penalty in PENALTIES}
    losses[1, PENALTIES[3]] = 0.1
    trials = [trial(), trial(plan=Plan(ngrams=2))]

    def of_penalties(self: Split, tried: Trial, net: str) -> dict[float, Any]:
        targets, found = numbered(self.held.labels, self.labels), {}
        for penalty in PENALTIES:
            y = np.log(np.full((len(targets), 2), 0.5))
            y[np.arange(len(targets)), targets] = -losses[trials.index(tried), penalty]
            found[penalty] = y
        return found

    monkeypatch.setattr(Split, "of_penalties", of_penalties)
    found = validate(windows(30, 4), trials, folds=2)
    for fold in found.folds:
        assert (fold.choices["linear"].trial, fold.choices["linear"].penalty) == (1, PENALTIES[3])
        assert fold.choices["linear"].loss == pytest.approx(0.1)


def test_a_net_for_which_there_is_nothing_to_choose_is_not_trained_on_inner_folds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = []
    real = fit_whole

    def counted(*arguments: Any, **options: Any) -> ClassifierModel:
        trained.append(options["only"])
        return real(*arguments, **options)

    monkeypatch.setattr(module, "fit_whole", counted)
    found = validate(windows(24, 5), [trial(("recurrent", "linear"))], folds=2, net="recurrent")
    assert len(trained) == 2 and found.folds[0].choices["recurrent"].loss is None
    trained.clear()
    validate(
        windows(24, 5), [trial(("recurrent",)), trial(("recurrent",), hidden=5)], folds=2, net="recurrent", inner=3
    )
    assert len(trained) == 2 * (3 * 2 + 1)


def test_copies_of_a_sequence_are_counted_whatever_their_case() -> None:
    data = windows(40, 6)
    data.examples.append(Example(41, data.examples[0].label, data.examples[0].sequence.upper()))
    found = validate(data, [trial()], folds=None, inner=2)
    assert [bool(fold.copies[0]) for fold in found.folds] == [True, *[False] * 39, True]
    assert found.apart is not None and found.apart["linear"].total == 39
    assert found.as_dict()["copies"] == 2


def test_the_same_seed_gives_the_same_answer_and_another_one_other_folds() -> None:
    data = windows(30, 7)
    tried = [trial(("recurrent",))]
    first, again, other = (validate(data, tried, folds=3, net="recurrent", seed=seed) for seed in (0, 0, 1))
    assert first.as_dict() == again.as_dict()
    assert [fold.test.tolist() for fold in first.folds] != [fold.test.tolist() for fold in other.folds]


def test_both_strands_are_learnt_from_and_the_answer_is_the_same_for_either() -> None:
    plan = Plan(ngrams=3, places=1, strands="both", pool="places", direction="both")
    nets = ("recurrent", "feedforward", "linear", "feedforward_places", "linear_places")
    data = windows(20, 8)
    split = Split(data, data, ("x", "y"))
    front, train, _ = split.encoded(trial(nets, plan))
    targets = numbered(data.labels, split.labels)
    model = fit_whole(front, train, targets, split.labels, trial(nets, plan).settings, plan, dict.fromkeys(nets, 0.01))
    forward = dataclasses.replace(model, shape=dataclasses.replace(model.shape, strands="forward"))
    other = front.other_strand(train)
    for net in nets:
        np.testing.assert_allclose(probabilities(model, train, net), probabilities(model, other, net), atol=1e-6)
        one, two = probabilities(forward, train, net), probabilities(forward, other, net)
        np.testing.assert_allclose(probabilities(model, train, net), mean_of([one, two]), atol=1e-6)
        # The one minimum over both strands treats them alike; what is drawn does not.
        assert (np.abs(one - two).max() > 1e-3) == (not net.startswith("linear"))


def test_the_mean_of_two_strands_is_that_of_logarithms_made_to_add_up() -> None:
    a, b = np.log([[0.9, 0.1]]), np.log([[0.4, 0.6]])
    expected = np.sqrt([[0.36, 0.06]])
    np.testing.assert_allclose(np.exp(mean_of([a, b])), expected / expected.sum())


def test_what_cannot_be_is_refused_before_any_work() -> None:
    data = windows(30, 9)
    with pytest.raises(UsageError, match="'halve' looks at validation"):
        validate(data, [trial(("recurrent",), schedule="halve")])
    with pytest.raises(UsageError, match="no try has the net 'linear-places'"):
        validate(data, [trial()], net="linear_places")
    with pytest.raises(UsageError, match="40 folds of 30 examples"):
        validate(data, [trial()], folds=40)
    with pytest.raises(TextError, match="the label 'z' has 2 examples, and 3 are the least"):
        validate(Labelled("w.tsv", [*data.examples, *[Example(31, "z", "acgt")] * 2]), [trial()])
    longer = Labelled("w.tsv", [*data.examples, Example(31, "x", "acgt")])
    with pytest.raises(TextError, match=r"w.tsv, line 31: 4 symbols, and 10 were expected"):
        validate(longer, [trial(plan=Plan(places=1))])
    with pytest.raises(UsageError, match="only sequences of bases have two strands"):
        validate(data, [trial(plan=Plan(strands="both"), unit="char")])
