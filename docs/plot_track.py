"""Draw bedGraphs of bits per base, smoothed: python docs/plot_track.py OUT.svg WINDOW NAME=FILE ..."""

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

plt.rcParams["svg.hashsalt"] = "elman"  # the same picture is the same file


def read(path: Path) -> np.ndarray:
    """Return the values of a bedGraph of one sequence, NaN where a base has none."""
    rows = [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("track")]
    values = np.full(max(int(end) for _, _, end, _ in rows), np.nan)
    for _, start, end, value in rows:
        values[int(start) : int(end)] = float(value)
    return values


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the means over windows of bases, from the first whole window to the last."""
    return np.convolve(np.nan_to_num(values, nan=2.0), np.full(window, 1 / window), mode="valid")


def main() -> None:
    """Draw all tracks above each other, and the two bits that a base costs whoever knows nothing."""
    out, window, tracks = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    axes.axhline(2, color="0.6", linewidth=0.8, linestyle="--")
    for track in tracks:
        name, _, path = track.partition("=")
        values = smoothed(read(Path(path)), window)
        places = np.arange(0, len(values), max(1, window // 10))  # more points than that would show nothing more
        axes.plot((places + window / 2) / 1000, values[places], linewidth=1.0, label=name)
    axes.set(xlabel="position, kb", ylabel=f"bits per base, {window} bases")
    axes.legend(frameon=False, loc="lower right", ncols=len(tracks))
    axes.margins(x=0)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
