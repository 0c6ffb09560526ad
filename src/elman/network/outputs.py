"""V: from states to Pr{ w(t+1) | w(t), h(t-1) }, and the errors at the output.

`OUTPUTS` is the table that the settings, the docs and the contract tests read. All are exact and normalised when they
are asked for probabilities; some learn from less than the whole dictionary.
"""

from __future__ import annotations

from elman.network.adaptive import AdaptiveSoftmax
from elman.network.classes import ClassSoftmax
from elman.network.sampled import SampledSoftmax
from elman.network.softmax import FullSoftmax

OUTPUTS: dict[str, type[FullSoftmax]] = {
    "full": FullSoftmax,
    "sampled": SampledSoftmax,
    "class": ClassSoftmax,
    "adaptive": AdaptiveSoftmax,
}
