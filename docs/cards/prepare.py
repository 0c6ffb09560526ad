"""Cut texts as result cards need them: python docs/cards/prepare.py KIND FOLDER OUT.

ptb-characters: ptb.{train,valid,test}.txt without the spaces at both ends of each line, which would be free bits.
shakespeare: tinyshakespeare.txt in three parts, its last tenth to test with, the twentieth before that to validate.
"""

import sys
from pathlib import Path

TEST, VALID = 0.1, 0.05


def ptb_characters(folder: Path, out: Path) -> None:
    for part in ("train", "valid", "test"):
        lines = (folder / f"ptb.{part}.txt").read_text(encoding="utf-8").splitlines()
        (out / f"{part}.txt").write_text("".join(f"{line.strip()}\n" for line in lines), encoding="utf-8")


def shakespeare(folder: Path, out: Path) -> None:
    text = (folder / "tinyshakespeare.txt").read_text(encoding="utf-8")
    test = len(text) - round(TEST * len(text))
    valid = test - round(VALID * len(text))
    for name, part in (("train", text[:valid]), ("valid", text[valid:test]), ("test", text[test:])):
        (out / f"{name}.txt").write_text(part, encoding="utf-8")


if __name__ == "__main__":
    kind, folder, out = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    {"ptb-characters": ptb_characters, "shakespeare": shakespeare}[kind](Path(folder), Path(out))
