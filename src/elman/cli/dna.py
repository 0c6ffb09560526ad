"""`elman dna`: the commands that read and write what bioinformaticians have: FASTA, FASTQ, BED."""

from __future__ import annotations

import typer

from elman.cli import dna_baseline, dna_compress, dna_generate, dna_score, dna_variants

app = typer.Typer(
    name="dna",
    help="DNA: likelihoods of bases, from FASTA and FASTQ.",
    no_args_is_help=False,
    rich_markup_mode=None,
)

COMMANDS = (
    dna_score.score,
    dna_baseline.baseline,
    dna_variants.variants,
    dna_generate.generate,
    dna_compress.compress,
    dna_compress.decompress,
)

for command in COMMANDS:
    app.command()(command)


@app.callback(invoke_without_command=True)
def dna(context: typer.Context) -> None:
    """DNA: likelihoods of bases, from FASTA and FASTQ."""
    if context.invoked_subcommand is None:
        print(context.get_help())
