"""[vocabulary], [words], [shards]."""

from typing import Literal

import snowballstemmer
from pydantic import Field, field_validator, model_validator

from pipeline.sections.section import Section


class VocabularyConfig(Section):
    size: int = Field(default=16384, ge=300, le=1 << 20)
    """Pieces wanted. Lowered, and said so, where the corpus is too small."""
    model: Literal["unigram", "bpe"] = "unigram"
    normalizer: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    character_coverage: float = Field(default=0.9995, ge=0.98, le=1)
    sample_bytes: int = Field(default=10 << 20, ge=1 << 10)
    """Kept text the vocabulary is learnt from, shared out to sources and languages and chosen by document hash."""
    language_temperature: float = Field(default=1.0, ge=0, le=1)
    """A language with share p of the kept text gets a share of the sample that goes as p^this: 1 as it is, 0 equal."""
    source_temperature: float = Field(default=1.0, ge=0, le=1)
    """The same for the sources of one language."""
    reserved: int = Field(default=0, ge=0, le=1 << 14)
    """Pieces at the end of the vocabulary, counted in `size`, that no text makes: room for later special pieces."""
    threads: int = Field(default=2, ge=1)
    """SentencePiece's threads. A config value, not the number of workers: it may change the learnt model."""

    @model_validator(mode="after")
    def _room(self) -> "VocabularyConfig":
        if self.size - self.reserved < 300:
            raise ValueError(f"size {self.size} less {self.reserved} reserved pieces leaves fewer than 300")
        return self


class WordsConfig(Section):
    """Rare words and their context notes (Taking Notes on the Fly)."""

    rare_low: int = Field(default=0, ge=0)
    rare_high: int = Field(default=0, ge=0)
    """Words with low <= count <= high are rare. 0, 0 leaves the range to `rare_rule`."""
    rare_rule: Literal["band", "mass"] = "band"
    """"band": TNF's 100..500 at 3.4 billion words, in proportion to the corpus; "mass": the rarest words that make up
    `rare_mass` of all running words, from `rare_low` (or 3) occurrences on."""
    rare_mass: float = Field(default=0.1, gt=0, lt=1)
    """Share of the running words; a tenth is Dict-BERT's."""
    rubbish: float = Field(default=0.0003, ge=0, lt=0.5)
    """Words spelt less like the corpus's frequent words than all but this share of those get no note: they are misread
    print more often than words. 0 takes every spelling."""
    families: bool = False
    """Let the notes of inflected forms name one another."""
    stemmer: str = "english"
    """Snowball stemmer that tells the forms of a word, by language: english, german, russian, ..."""
    max_distinct: int = Field(default=1 << 22, ge=1 << 10)
    """Distinct words that are counted in memory. Above, only words of so many occurrences are listed that about this
    many remain; their counts are exact all the same."""
    ngrams: Literal[0, 2, 3] = 0
    """Count word n-grams up to this length, too; 0 counts none."""
    ngram_min_count: int = Field(default=10, ge=1)
    """Rarer n-grams are not listed; the limit rises where more than `max_distinct` would remain."""
    contexts: int = Field(default=8, ge=1, le=256)
    """Windows kept for each rare word, chosen by hash, one per document while there are documents enough."""
    half_window: int = Field(default=16, ge=1, le=512)
    """Tokens kept on each side of the word."""

    @model_validator(mode="after")
    def _range(self) -> "WordsConfig":
        if self.rare_low > self.rare_high and (self.rare_high or self.rare_rule == "band"):
            raise ValueError("rare_low must not be above rare_high")
        return self

    @field_validator("stemmer")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in snowballstemmer.algorithms():
            raise ValueError(f"no stemmer is called '{name}'; known: {', '.join(snowballstemmer.algorithms())}")
        return name


class ShardsConfig(Section):
    valid_share: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents, by hash of doc_id, that is held out."""
    test_share: float = Field(default=0.0, ge=0, lt=1)
    """Share that is held out a second time, as `test`; changes nothing about which documents are `valid`."""
    shard_tokens: int = Field(default=1 << 24, ge=1 << 10)
    """Tokens of one train, valid or test shard, about; the shards of a split are of equal size."""

    @model_validator(mode="after")
    def _some_train(self) -> "ShardsConfig":
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave nothing to train on")
        return self
