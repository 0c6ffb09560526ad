"""What a benchmark measures, and that it says so rightly; how fast anything is decides no test."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.apply.bench import growth as growing
from elman.apply.bench.plan import PART_NAMES, QUICK, Plan
from elman.apply.bench.point import Point, measure_point, peak_megabytes
from elman.apply.bench.rivals import RIVALS
from elman.apply.bench.scoring import scoring, step_latencies, ways
from elman.apply.bench.suite import PARTS, bench
from elman.apply.bench.texts import synthetic, written, zipf_lines
from elman.apply.bench.timing import Speed, exponent, probe, quantile, ratios, take_turns, threads, turn
from elman.apply.bench.training import ElmanLearner, RivalLearner, gflop_a_word, new_network, settings_for
from elman.errors import ElmanError, UsageError
from elman.network.folder import Model
from elman.network.model import State
from elman.network.outputs import OUTPUTS

TINY = Plan(
    hidden=(6, 9),
    dictionary=40,
    bptt=4,
    batches=(2, 3),
    large=8,
    large_batch=2,
    precision="fp32",
    rounds=2,
    least=0.0,
    words=600,
    steps=120,
    sides=(8, 16),
    memory_mb=1,
    grow_hidden=(4, 8),
    grow_dictionary=(40,),
    grow_batch=(2,),
    grow_words=(500,),
    threads=1,
)


class FakeClock:
    """A clock that only goes on when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: float, units: float, log: list[str]) -> Callable[[], float]:
        def work() -> float:
            log.append(name)
            self.now += seconds
            return units

        return work


def silent(message: str) -> None:
    pass


def test_contestants_take_turns() -> None:
    clock, log = FakeClock(), []
    works = {name: clock.work(name, 1.0, 5.0, log) for name in "ABC"}
    take_turns(works, rounds=3, least=0.5, clock=clock)
    assert "".join(log) == "ABCABCABC"


def test_a_turn_lasts_until_its_time_is_over() -> None:
    clock, log = FakeClock(), []
    speeds = take_turns(
        {"slow": clock.work("s", 3.0, 6.0, log), "fast": clock.work("f", 0.5, 5.0, log)},
        rounds=2,
        least=1.0,
        clock=clock,
    )
    assert "".join(log) == "sffsff"
    assert speeds == {"slow": Speed((2.0, 2.0)), "fast": Speed((10.0, 10.0))}


def test_a_short_first_piece_only_warms_up() -> None:
    clock = FakeClock()
    seconds = iter([0.75, 0.5, 0.5])

    def work() -> float:
        clock.now += next(seconds)
        return 1.0

    assert probe(work, 1.0, clock) == 2.0


def test_a_long_first_piece_is_measured() -> None:
    clock, log = FakeClock(), []
    assert probe(clock.work("w", 4.0, 8.0, log), 1.0, clock) == 2.0
    assert log == ["w"]


def test_a_turn_works_once_at_least() -> None:
    clock, log = FakeClock(), []
    turn(clock.work("w", 0.0, 1.0, log), 0.0, clock)
    assert log == ["w"]


@given(st.lists(st.floats(1, 1e6), min_size=1), st.lists(st.floats(1, 1e6), min_size=1))
def test_a_ratio_is_that_of_the_medians(ours: list[float], theirs: list[float]) -> None:
    speeds = {"ours": Speed(tuple(ours)).median, "theirs": Speed(tuple(theirs)).median}
    expected = statistics.median(ours) / statistics.median(theirs)
    assert ratios(speeds, ["theirs"]) == {"ours": {"theirs": expected}}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_the_least_value_that_its_share_does_not_exceed(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


@given(st.floats(-3, 3), st.floats(0.01, 100), st.sets(st.integers(1, 10_000), min_size=2, max_size=6))
def test_the_exponent_of_a_power_law_is_found(power: float, factor: float, sizes: set[int]) -> None:
    ordered = sorted(sizes)
    found = exponent(ordered, [factor * size**power for size in ordered])
    assert found is not None
    assert math.isclose(found, power, abs_tol=1e-6)


@pytest.mark.parametrize("values", [[None, None], [3.0, None], [0.0, 1.0]])
def test_no_exponent_of_less_than_two_values(values: list[float | None]) -> None:
    assert exponent([1, 2], values) is None


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ElmanError), threads(1) as count:
        assert count == torch.get_num_threads() == 1
        raise ElmanError("stop")
    assert torch.get_num_threads() == before


def test_the_text_has_the_words_and_the_dictionary_that_were_asked_for() -> None:
    with synthetic(40, 600, seed=1) as text:
        assert text.tokenizer.size == 40
        assert (text.corpus.words, text.corpus.oovs) == (600, 0)


def test_words_follow_zipf() -> None:
    words = " ".join(zipf_lines(100, 50_000, seed=1)).split()
    assert math.isclose(words.count("w0") / words.count("w9"), 10, rel_tol=0.2)


def test_the_same_seed_gives_the_same_text() -> None:
    assert zipf_lines(50, 300, seed=3) == zipf_lines(50, 300, seed=3) != zipf_lines(50, 300, seed=4)


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_with_equal_weights_has_the_same_losses_and_learns_the_same(name: str) -> None:
    with synthetic(TINY.dictionary, TINY.words, seed=1) as text:
        network = new_network(TINY, 6, "full", TINY.dictionary)
        rival = RIVALS[name](TINY.dictionary, 6)
        rival.take_weights(network)
        state, other = network.initial_state(3), rival.initial_state(3)
        # elman's loss is summed over T, the rival's averaged over it: the same step at T times the rate.
        optimizer = torch.optim.SGD(rival.parameters(), lr=0.5 * TINY.bptt)
        for inputs, targets in RivalLearner(rival, text, 3, TINY.bptt).windows.iterate(0):
            if len(inputs) < TINY.bptt:
                break
            symbols, answers = torch.from_numpy(inputs), torch.from_numpy(targets)
            state, loss = network.loss(state, symbols, answers)
            other, same = rival.loss(other, symbols, answers)
            torch.testing.assert_close(same * TINY.bptt, loss, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(other, state[0], rtol=1e-4, atol=1e-5)
            network.zero_grad()
            loss.backward()
            optimizer.zero_grad()
            same.backward()
            if name == "torch nn.RNN":  # its extra matrix stays the identity, so that the nets stay the same
                rival.rnn.weight_ih_l0.grad = None
            optimizer.step()
            with torch.no_grad():
                for weight in network.parameters():
                    weight -= 0.5 * weight.grad


@pytest.mark.parametrize("output", OUTPUTS)
def test_elman_goes_round_the_text_and_counts_its_words(output: str) -> None:
    with synthetic(TINY.dictionary, TINY.words, seed=1) as text:
        network = new_network(TINY, 6, output, TINY.dictionary)
        before = network.encoder.U.detach().clone()
        learner = ElmanLearner(network, text, settings_for(TINY, 6, output, 3))
        epoch = sum(learner() for _ in range(learner.steps.per_epoch))
        assert epoch == len(text.corpus.ids) // 3 * 3
        assert learner() == 3 * TINY.bptt
        assert not torch.equal(network.encoder.U, before)


def test_a_rival_goes_round_the_text_and_counts_its_words() -> None:
    with synthetic(TINY.dictionary, TINY.words, seed=1) as text:
        learner = RivalLearner(RIVALS["torch loop"](TINY.dictionary, 6), text, 3, TINY.bptt)
        before = learner.rival.embedding.weight.detach().clone()
        assert sum(learner() for _ in range(len(learner.windows))) == len(text.corpus.ids) // 3 * 3
        assert learner() == 3 * TINY.bptt
        assert not torch.equal(learner.rival.embedding.weight, before)


def test_products_of_a_word_are_counted_as_in_the_equations() -> None:
    assert math.isclose(gflop_a_word(5000, 10_000), 2 * (3 * 5000 * 10_000 + 3 * 5000 * 5000) / 1e9)


def test_the_table_has_the_parts_of_the_command() -> None:
    assert tuple(PARTS) == PART_NAMES


def test_machine_reports_squares_training_shapes_and_memory() -> None:
    found = bench(["machine"], TINY)["machine"]
    assert [row["name"] for row in found["gemm_gflops"]][:2] == ["square 8", "square 16"]
    assert {"s V, H = 6", "s V, H = 9"} <= {row["name"] for row in found["gemm_gflops"]}
    squares = [row["fp32"]["median"] for row in found["gemm_gflops"][:2]]
    assert found["best_gemm_gflops"]["fp32"] == max(squares) > 0
    assert set(found["memory_gb_per_second"]) == {"read", "copy"}


def test_training_reports_ratios_of_medians_and_shares() -> None:
    told: list[str] = []
    result = bench(["training"], TINY, told.append)
    json.dumps(result, allow_nan=False)
    assert result["training"]["prepared_per_second"] > 0
    small, large = result["training"]["sizes"]
    assert set(small["contestants"]) == {*(f"elman {name}" for name in OUTPUTS), *RIVALS}
    assert set(large["contestants"]) == {"elman full", *RIVALS}  # other outputs only at the smallest H
    for size, batches in ((small, {"2", "3"}), (large, {"2"})):
        rows = size["contestants"]
        for name, row in rows.items():
            assert len(row["turns"]) == size["rounds"] == 2
            assert row["words_per_second"] == statistics.median(row["turns"])
            assert set(row["probes"]) == batches
            assert row["probes"][str(row["batch"])] == max(row["probes"].values())
            dense = name == "elman full" or name in RIVALS
            expected = row["words_per_second"] * size["gflop_per_word"] if dense else None
            assert row["gflops"] == expected
            assert (row["waiting_share"] is None) == (name in RIVALS)
            assert row["share_of_gemm"] == (expected / size["gemm_gflops"]["fp32"] if dense else None)
        for name, against in size["ratios"].items():
            for rival, ratio in against.items():
                assert ratio == rows[name]["words_per_second"] / rows[rival]["words_per_second"]
        assert set(size["ratios"]["elman full"]) == set(RIVALS)
    assert any("H = 9" in message for message in told)


def test_a_batch_that_the_text_cannot_fill_is_refused() -> None:
    with pytest.raises(UsageError, match="too few for batch"):
        bench(["training"], replace(TINY, batches=(5000,), large=100))


def test_scoring_reports_speeds_and_latencies() -> None:
    found = scoring(TINY, silent)
    assert {name.split(":")[0] for name in found["words_per_second"]} == {n.split(",")[0] for n in found["step_ms"]}
    assert {"full", "full, V in bf16", "full, V in int8"} <= set(found["step_ms"])
    assert "full: evaluate, running" in found["words_per_second"]
    for entry in found["step_ms"].values():
        assert entry["steps"] == TINY.steps
        assert 0 < entry["p50"] <= entry["p99"]


def test_every_way_to_score_counts_all_symbols() -> None:
    with synthetic(TINY.dictionary, TINY.words, seed=1) as text:
        network = new_network(TINY, 6, "full", TINY.dictionary)
        model = Model(network.eval(), text.tokenizer, "running", {})
        for name, work in ways(model, text).items():
            left_over = len(text.corpus.ids) % 32 if "streams" in name else 0
            assert work() == len(text.corpus.ids) - left_over, name


def test_latencies_leave_the_warming_up_out_and_give_all_the_same_symbols() -> None:
    network = new_network(TINY, 6, "full", TINY.dictionary)
    read: dict[str, list[int]] = {"a": [], "b": []}

    class Listening:
        def __init__(self, name: str) -> None:
            self.name = name

        def initial_state(self, batch: int) -> State:
            return network.initial_state(batch)

        def step(self, state: State, symbols: torch.Tensor) -> tuple[State, torch.Tensor]:
            read[self.name].append(int(symbols))
            return network.step(state, symbols)

    times = step_latencies({name: Listening(name) for name in read}, TINY.dictionary, 207, seed=1)
    assert {name: len(values) for name, values in times.items()} == {"a": 207, "b": 207}
    assert read["a"] == read["b"]
    assert len(set(read["a"])) > 20


@pytest.mark.parametrize("epoch", [False, True])
def test_a_point_is_measured(epoch: bool, tmp_path: Path) -> None:
    point = Point(hidden=4, dictionary=40, batch=2, words=500, epoch=epoch, bptt=4, threads=1, least=0.0)
    with written(40, 500, seed=1) as folder:
        found = measure_point(point, folder)
    assert found["seconds"] is not None
    assert found["seconds"] > 0


def test_peak_memory_counts_what_was_held() -> None:
    before = peak_megabytes()
    if before is None:
        pytest.skip("this system does not say how much memory a process has held")
    block = torch.ones(int(before * 1e6) // 4 + 25_000_000)  # more than was ever held, by 100 MB
    after = peak_megabytes()
    assert after is not None
    assert after >= before + 90
    del block


def test_growth_measures_each_point_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "WHAT", {"hidden": "an update"})
    monkeypatch.setattr(growing, "BASE", replace(growing.BASE, dictionary=40, batch=2, words=500))
    (table,) = growing.growth(TINY, silent).values()
    assert table["sizes"] == [4, 8]
    assert all(seconds > 0 for seconds in table["seconds"])
    assert table["seconds_exponent"] == exponent(table["sizes"], table["seconds"])
    assert table["fixed"]["dictionary"] == 40
    assert "hidden" not in table["fixed"]


def test_growth_says_why_a_point_failed() -> None:
    with pytest.raises(ElmanError, match="too few for batch = 4000"):
        growing.measured(Point(hidden=4, dictionary=40, batch=4000, words=500))


@pytest.mark.parametrize("quantity", growing.WHAT)
def test_only_one_quantity_grows_at_a_time(quantity: str) -> None:
    chosen = growing.points(QUICK, quantity)
    assert [getattr(point, quantity) for point in chosen] == list(getattr(QUICK, f"grow_{quantity}"))
    assert len({replace(point, **{quantity: 1}) for point in chosen}) == 1
    assert all(point.epoch == (quantity == "words") for point in chosen)
