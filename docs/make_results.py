"""Write the cards in docs/results.md from docs/cards/*.json: python docs/make_results.py."""

import json
import math
import statistics
import tomllib
from pathlib import Path

PAGE = Path(__file__).with_name("results.md")
CARDS = Path(__file__).with_name("cards")
BEGIN, END = "<!-- cards: made by docs/make_results.py -->", "<!-- end of cards -->"


def mean(values: list[float]) -> str:
    """Return a number, or the mean of several and how far apart they are."""
    if len(values) == 1:
        return f"{values[0]:.{digits(values)}f}"
    return f"{statistics.mean(values):.{digits(values)}f} ± {statistics.stdev(values):.{digits(values)}f}"


def digits(values: list[float]) -> int:
    """Return how many digits after the point are worth writing."""
    return 3 if max(values) < 10 else 2


def figure(result: dict, measure: str) -> float:
    """Return the number of an evaluation that is compared: of a model, or of a mixture."""
    return result[measure] if measure in result else result["text"]["mix"][measure]


def while_training(run: dict, measure: str) -> float:
    """Return what validation came to, per symbol: its perplexity, or bits where a symbol is a character."""
    return math.log2(run["valid"]) if measure == "bits_per_character" else run["valid"]


def card(facts: dict) -> str:
    """Return one card as Markdown."""
    runs, measure = facts["runs"], facts.get("measure", "perplexity")
    unit = measure.replace("_", " ")
    seeds = ", ".join(str(run["seed"]) for run in runs)
    lines = [f"### {facts['name']}", "", "| | |", "|---|---|"]
    if "valid" in runs[0]:
        lines.append(f"| validation {unit}, while training | {mean([while_training(run, measure) for run in runs])} |")
    for key in facts["commands"]:
        if key.startswith("test"):
            what = key.removeprefix("test").strip("-").replace("-", " ") or "alone"
            lines.append(f"| test {unit}, {what} | **{mean([figure(run[key], measure) for run in runs])}** |")
    for name, key in (("wall time of training", "train_seconds"), ("processor time of training", "processor_seconds")):
        if key in runs[0]:
            lines.append(f"| {name} | {', '.join(f'{run[key]:.1f}' for run in runs)} s |")
    if "parameters" in runs[0]:
        lines.append(f"| parameters, epochs | {runs[0]['parameters']:,}, {runs[0]['epochs']} |")
    lines.append(f"| seeds, commit, date | {seeds}; {facts['commit']}; {facts['date']} |")
    lines.append(f"| machine | {facts['machine']} |")
    lines += [f"| rival | {rival} |" for rival in facts["rivals"]]
    return "\n".join([*lines, "", "```sh", *facts["commands"].values(), "```", ""])


def not_run(name: str, plan: dict) -> str:
    """Return what stands in the place of a card that nobody has made yet."""
    commands = [text for key, text in plan.items() if key.startswith(("prepare", "train", "test"))]
    lines = [f"### {name}", "", f"Not run. {plan.get('why', '')}".rstrip(), ""]
    lines += [f"- rival: {rival}" for rival in plan["rivals"]]
    return "\n".join([*lines, "", "```sh", *commands, "```", ""])


def cards() -> str:
    """Return all cards, in the order of their names."""
    plans = tomllib.loads((CARDS / "cards.toml").read_text("utf-8"))
    made = {path.stem: card(json.loads(path.read_text("utf-8"))) for path in CARDS.glob("*.json")}
    waiting = {name: not_run(name, plan) for name, plan in plans.items() if name not in made}
    return "\n".join(text for _, text in sorted({**made, **waiting}.items()))


def page() -> str:
    """Return the page with its cards made anew."""
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{cards()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
