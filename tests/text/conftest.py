from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def ptb() -> Path:
    folder = SHARED / "ptb"
    if not folder.is_dir():
        pytest.skip("the Penn Treebank is not in ../shared/data/ptb")
    return folder
