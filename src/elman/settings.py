"""What can be set, section by section: how text becomes symbols, the shape of the network, how it learns."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

HUGE = 1e10  # beyond any use, and small enough that a product of two is a float32
MOST_THREADS = 1024
Folder = Annotated[str, Field(min_length=1), AfterValidator(os.path.abspath)]


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextSettings(Section):
    """How text becomes symbols."""

    unit: Literal["word", "char", "byte", "bpe", "dna"] = Field("word", description="what one symbol is")
    vocab_size: int | None = Field(
        None, gt=0, lt=2**31, description="dictionary size D, special symbols included; the most frequent are kept"
    )
    min_count: int = Field(1, ge=1, description="symbols rarer than this in the training text become <unk>")
    lowercase: bool = Field(False, description="lower-case the text first (words and BPE)")
    split_punctuation: bool = Field(False, description="make every punctuation mark a word of its own")
    vocabulary: str | None = Field(None, description="a file with one word a line to use as the dictionary")


class NetworkSettings(Section):
    """The shape of the network: D comes from the text, the rest from here."""

    encoder: str = Field("one-hot", description="how w(t) is encoded (table ENCODERS)")
    ngrams: list[Annotated[int, Field(ge=2, le=64)]] = Field(
        [2], min_length=1, description="encoder n-gram: the n, besides 1, whose last n symbols have a row"
    )
    buckets: int = Field(
        2**18, ge=1, le=2**31, description="encoder n-gram: rows for an n at the most; where D^n is more, n-grams share"
    )
    bert: Folder | None = Field(None, description="encoder bert: the folder of a BERT, which stays as it is")
    bert_size: int | None = Field(None, ge=1, description="encoder bert: numbers of its vectors; unset, what it says")
    bert_precision: Literal["fp32", "bf16"] = Field("fp32", description="encoder bert: the numbers of BERT's products")
    bert_window: int = Field(16, ge=1, le=512, description="encoder bert: how many symbols BERT reads, the last ones")
    direct: int = Field(0, ge=0, le=64, description="n-grams up to this n add to the logits (direct connections)")
    counts: list[Annotated[int, Field(ge=0, le=24)]] = Field(
        [], max_length=24, description="unit dna: what came after the last so many bases is counted, and mixed in"
    )
    counts_bits: int | None = Field(
        None, ge=4, le=30, description="counts over more than 12 bases: log2 of the places for each; unset, by the text"
    )
    cell: str = Field("elman", description="the recurrent cell (table CELLS)")
    output: str = Field(
        "full", description="the output layer (table OUTPUTS), or auto: full, or sampled for a large dictionary"
    )
    classes: int | None = Field(
        None, ge=1, description="output class: how many; unset, sqrt(D); fewer are slower and nearer to full"
    )
    hidden: int = Field(200, ge=1, le=1_000_000, description="hidden size H")
    layers: int = Field(1, ge=1, le=1000, description="recurrent layers, one on top of the other")
    last_hidden: int | None = Field(None, ge=1, le=1_000_000, description="H of the last layer; unset, as the others")
    embedding: int | None = Field(
        None, ge=1, le=1_000_000, description="numbers that a symbol becomes; unset, what the first layer takes"
    )
    depth: int = Field(2, ge=2, le=100, description="cell deep-elman: layers from one state to the next")
    context: int = Field(40, ge=1, le=1_000_000, description="cell scrn: units that change slowly")
    window: int = Field(4, ge=1, le=1000, description="cell feedforward: how many symbols it sees, the last ones")
    rounds: int = Field(5, ge=0, le=100, description="cell mogrifier: how often input and state gate each other")
    activation: str = Field("sigmoid", description="f, the activation of the hidden layer (table ACTIVATIONS)")
    bias: bool = Field(False, description="add a bias at the hidden and output layers")
    tied: bool = Field(False, description="share one matrix between U and V: V = U^T")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share of hidden units dropped on the way up, in training")
    between_dropout: float | None = Field(
        None, ge=0.0, lt=1.0, description="the same between layers; unset, as on the way to the output"
    )
    input_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share of the numbers of a symbol that are dropped")
    word_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share of the dictionary whose rows of U are dropped")
    weight_dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="DropConnect: share of the recurrent weights that are dropped"
    )
    locked: bool = Field(False, description="dropout drops the same units at every step of a window")
    zoneout: float = Field(0.0, ge=0.0, lt=1.0, description="chance of each unit to stay as it was, at each step")
    ar: float = Field(
        0.0, ge=0.0, le=HUGE, description="activation regularisation: penalty on the mean square of states"
    )
    tar: float = Field(0.0, ge=0.0, le=HUGE, description="temporal AR: penalty on the mean square of their changes")
    init: Literal["uniform", "irwin-hall"] = Field(
        "uniform", description="how weights start: one uniform draw, or the sum of three (Mikolov's toolkit)"
    )
    init_range: float = Field(0.1, gt=0.0, le=HUGE, description="draws are from [-init_range, init_range]")
    first_state: float = Field(0.0, ge=-HUGE, le=HUGE, description="every hidden unit before the first symbol, s(0)")
    recurrent_init: Literal["uniform", "orthogonal"] = Field("uniform", description="how W starts")
    between_scale: float = Field(
        1.0, ge=0.0, le=HUGE, description="what the start of the matrices before each layer, if not U, is multiplied by"
    )
    recurrent_scale: float = Field(1.0, ge=0.0, le=HUGE, description="what the start of W is multiplied by")
    output_scale: float = Field(1.0, ge=0.0, le=HUGE, description="what the start of V is multiplied by")


class LearnSettings(Section):
    """How the network learns."""

    regime: Literal["running", "sentences", "online"] = Field(
        "running",
        description="running text in parallel streams; independent sentences; or Mikolov's one stream, word by word",
    )
    optimizer: str = Field("sgd", description="how weights follow gradients (table OPTIMIZERS)")
    alpha: float | None = Field(None, gt=0.0, le=HUGE, description="learning rate; unset, the optimiser's own default")
    beta: float = Field(0.0, ge=0.0, lt=1.0, description="L2 regularisation: weights shrink by beta with every update")
    adam_beta1: float = Field(
        0.9, ge=0.0, lt=1.0, description="adam: what an update leaves of the mean gradient; 0: none is stored"
    )
    adam_beta2: float = Field(
        0.999, ge=0.0, lt=1.0, description="adam, rmsprop: what an update leaves of the mean squared gradient"
    )
    nonmono: int = Field(
        5, ge=1, description="nt-asgd: averaging begins when validation is worse than its best this many epochs ago"
    )
    average: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="validate and save a moving average of the weights; what an update leaves of it",
    )
    average_every: int = Field(10, ge=1, description="average, nt-asgd: updates between two weights that are averaged")
    beta_follows: bool = Field(False, description="beta falls with the schedule, as alpha does")
    input_rate: float = Field(1.0, gt=0.0, le=HUGE, description="what alpha is multiplied by for U")
    recurrent_rate: float = Field(1.0, gt=0.0, le=HUGE, description="what alpha is multiplied by for W")
    between_rate: float = Field(
        1.0, gt=0.0, le=HUGE, description="the same for matrices between U and V that multiply no state"
    )
    direct_rate: float = Field(1.0, gt=0.0, le=HUGE, description="what alpha is multiplied by for direct connections")
    direct_sgd: bool = Field(False, description="direct connections learn by plain SGD, whatever the optimizer")
    counts_rate: float = Field(
        0.001, ge=0.0, le=1.0, description="unit dna: the rate at which the weights of counts learn"
    )
    batch: int = Field(16, ge=1, description="streams or sentences side by side, B")
    bptt: int = Field(16, ge=1, description="steps of the unrolled window, T (online: extra steps beyond the block)")
    bptt_jitter: float = Field(
        0.0, ge=0.0, le=HUGE, description="running text: deviation of random window lengths, 1 in 20 about half bptt"
    )
    noise: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="replace symbols of the text by others, with this chance where all that followed them was new",
    )
    reset: float = Field(
        0.0, ge=0.0, le=1.0, description="running text: chance of a stream to begin a window from s(0)"
    )
    teacher: str | None = Field(
        None, description="running text: a model folder; some targets are drawn from what that model expects"
    )
    teacher_share: float = Field(0.5, gt=0.0, le=1.0, description="teacher: the chance of a target to be drawn from it")
    vectors: str | None = Field(
        None, description="a file of word vectors with which rows of U begin; words that it lacks begin at random"
    )
    vectors_rms: float | None = Field(
        None, gt=0.0, le=HUGE, description="root mean square that those rows get; unset, that of a random start"
    )
    freeze_vectors: bool = Field(False, description="leave U as it begins: no updates, and no beta")
    output_block: int | None = Field(
        None, ge=1, description="running text, plain sgd: time steps between two updates of V inside a window"
    )
    bptt_block: int = Field(10, ge=1, description="online: words between two updates of U and W")
    negatives: int = Field(1000, ge=1, description="output sampled: symbols drawn for each window")
    full_from: float = Field(
        1.0, ge=0.0, le=1.0, description="output sampled: share of the epochs after which the full softmax learns"
    )
    clip: float | None = Field(
        None, gt=0.0, le=HUGE, description="scale gradients down to this norm (online: clip each error)"
    )
    epochs: int = Field(20, ge=1, description="passes over the training text, at most")
    max_updates: int | None = Field(None, ge=1, description="stop after this many updates, mid-epoch too")
    schedule: str = Field("halve", description="how alpha changes (table SCHEDULES)")
    warmup: float = Field(
        0.0,
        ge=0.0,
        le=HUGE,
        description="updates in which alpha rises from zero, whatever the schedule; below 1, a share of all updates",
    )
    decay: float = Field(2.0, gt=1.0, le=HUGE, description="plateau: what alpha is divided by")
    min_improvement: float = Field(
        0.003, ge=0.0, lt=1.0, description="halve: the share by which validation has to improve in an epoch"
    )
    patience: int = Field(
        3, ge=1, description="epochs without a better validation before training stops early (plateau: alpha falls)"
    )
    stop_at_perplexity: float | None = Field(
        None, gt=1.0, le=HUGE, description="stop as soon as validation reaches this perplexity"
    )
    validate_every: int = Field(
        150, ge=1, description="stop_at_perplexity: updates between two looks at the validation text"
    )
    tune_temperature: bool = Field(
        False, description="after training, divide the logits by what suits validation best (output full or sampled)"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "fp32", description="the numbers that products are made in; weights, updates and states stay fp32"
    )
    seed: int = Field(1, ge=0, lt=2**63, description="where randomness starts")
    threads: int | None = Field(None, ge=1, le=MOST_THREADS, description="processor threads; unset, all, up to 16")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="where the network computes: cpu or cuda")
    checkpoint_every: int = Field(1000, ge=0, description="updates between checkpoints; 0: only after an epoch")
    log_every: int = Field(100, ge=1, description="updates between two lines of log.jsonl")
    log: list[Literal["tensorboard", "trackio"]] = Field(
        [], max_length=2, description="programs that get what log.jsonl gets: tensorboard, trackio"
    )

    @model_validator(mode="after")
    def _online_is_one_stream(self) -> LearnSettings:
        if self.regime == "online" and (self.optimizer != "sgd" or self.beta_follows):
            raise ValueError("regime online is plain SGD: optimizer must be sgd, and beta_follows false")
        return self

    @model_validator(mode="after")
    def _online_reads_what_is_there(self) -> LearnSettings:
        if self.regime == "online" and self.noise:
            raise ValueError("regime online reads the text as it is: noise must be 0")
        return self

    @model_validator(mode="after")
    def _one_average(self) -> LearnSettings:
        if self.optimizer == "nt-asgd" and self.average is not None:
            raise ValueError("nt-asgd averages the weights itself: leave learn.average unset")
        return self

    @model_validator(mode="after")
    def _frozen_vectors_are_given(self) -> LearnSettings:
        if self.vectors is None and (self.freeze_vectors or self.vectors_rms is not None):
            raise ValueError("freeze_vectors and vectors_rms are about word vectors: give learn.vectors")
        return self

    @model_validator(mode="after")
    def _windows_are_of_running_text(self) -> LearnSettings:
        for name in ("bptt_jitter", "reset", "teacher"):
            if getattr(self, name) and self.regime != "running":
                raise ValueError(f"{name} is of windows over running text: regime must be running")
        return self


class Settings(Section):
    """All settings of a training run."""

    text: TextSettings = TextSettings()
    network: NetworkSettings = NetworkSettings()
    learn: LearnSettings = LearnSettings()
