"""Write the cards in docs/results.md from docs/cards/*.json: python docs/make_results.py."""

import json
import statistics
from pathlib import Path

PAGE = Path(__file__).with_name("results.md")
CARDS = Path(__file__).with_name("cards")
BEGIN, END = "<!-- cards: made by docs/make_results.py -->", "<!-- end of cards -->"


def mean(values: list[float]) -> str:
    """Return a number, or the mean of several and how far apart they are."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def figure(result: dict) -> float:
    """Return the number of an evaluation that is compared: of a model, or of a mixture."""
    return result["perplexity"] if "perplexity" in result else result["text"]["mix"]["perplexity"]


def card(facts: dict) -> str:
    """Return one card as Markdown."""
    runs = facts["runs"]
    seeds = ", ".join(str(run["seed"]) for run in runs)
    lines = [f"### {facts['name']}", "", "| | |", "|---|---|"]
    if "valid" in runs[0]:
        lines.append(f"| validation perplexity, while training | {mean([run['valid'] for run in runs])} |")
    for key in facts["commands"]:
        if key.startswith("test"):
            what = key.removeprefix("test").strip("-").replace("-", " ") or "alone"
            lines.append(f"| test perplexity, {what} | **{mean([figure(run[key]) for run in runs])}** |")
    lines.append(f"| wall time of training | {mean([run['train_seconds'] for run in runs])} s |")
    if "parameters" in runs[0]:
        lines.append(f"| parameters, epochs | {runs[0]['parameters']:,}, {runs[0]['epochs']} |")
    lines.append(f"| seeds, commit, date | {seeds}; {facts['commit']}; {facts['date']} |")
    lines.append(f"| machine | {facts['machine']} |")
    lines += [f"| rival | {rival} |" for rival in facts["rivals"]]
    return "\n".join([*lines, "", "```sh", *facts["commands"].values(), "```", ""])


def cards() -> str:
    """Return all cards."""
    return "\n".join(card(json.loads(path.read_text("utf-8"))) for path in sorted(CARDS.glob("*.json")))


def page() -> str:
    """Return the page with its cards made anew."""
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{cards()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
