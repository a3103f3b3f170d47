"""[protect], [boilerplate], [deduplicate], [substrings]: what documents share."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.dedup.banding import choose_banding
from pipeline.sections.section import Section


class ProtectConfig(Section):
    """Evaluation sets given by `--protect`: documents that share text with their items are not trained on.

    Texts are compared as `deduplicate` compares them: case, punctuation and spacing do not count.
    """

    ngram: int = Field(default=13, ge=1, le=64)
    """Words in a row that a document may not share with a protected item."""
    ngram_characters: int = Field(default=24, ge=1, le=256)
    """Characters in a row, for items in scripts written without spaces."""
    min_words: int = Field(default=8, ge=1, le=64)
    """Items of fewer words than `ngram` are looked for as a whole; those of fewer than this are too short to protect:
    anyone may write them."""
    min_characters: int = Field(default=16, ge=1, le=256)
    """The same for scripts written without spaces."""
    action: Literal["drop", "cut"] = "drop"
    """"cut": only the sentences that hold a shared n-gram go."""
    files: dict[str, str] = {}
    """Name -> sha256 of each protected file, filled in from `--protect`; where given, other files are an error."""

    @model_validator(mode="after")
    def _least(self) -> "ProtectConfig":
        if self.min_words > self.ngram or self.min_characters > self.ngram_characters:
            raise ValueError("min_words and min_characters: must not be above ngram and ngram_characters")
        return self


class BoilerplateConfig(Section):
    """Lines that many documents of one source share (navigation, licence notices, signatures) are cut from all of them.

    Lines are compared as `deduplicate` compares texts: case, punctuation and spacing do not count, digits do.
    """

    enabled: bool = True
    min_documents: int = Field(default=10, ge=2)
    """Distinct documents of a source that a line must stand in; exact copies count once."""
    min_share: float = Field(default=0.2, gt=0, le=1)
    """And the share of the source's distinct documents. At 0.1 headings that manuals share begin to go, too."""
    min_characters: int = Field(default=20, ge=1)
    """Shorter lines (normalised) always stay: headings, "Exeunt", refrains. Han, kana and Hangul count double."""
    max_shared: float = Field(default=0.8, gt=0, le=1)
    """A document of which more than this share is made of such lines says nothing about them: it may be a near-copy of
    others, and near-copies of one document must not make its text boilerplate. It is cut all the same."""


class DeduplicateConfig(Section):
    """Exact copies, then near-duplicates verified by exact Jaccard."""

    near: bool = True
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Exact Jaccard from which a document counts as a copy of a kept one."""
    shingle_words: int = Field(default=5, ge=1, le=32)
    """Words per shingle; scripts without spaces use `shingle_characters`."""
    shingle_characters: int = Field(default=8, ge=1, le=64)
    min_shingles: int = Field(default=5, ge=1)
    """Documents with fewer shingles take part in exact deduplication only."""
    recall: float = Field(default=0.99, gt=0, lt=1)
    """Wanted share of pairs at the threshold that meet and are verified; bands and rows follow from it."""
    permutations: int = Field(default=120, ge=1, le=4096)
    """At most this many MinHash values for each document."""
    bands: int = Field(default=0, ge=0)
    rows: int = Field(default=0, ge=0)
    """Bands of this many rows in place of those that `recall` asks for; 0, 0 leaves the choice to it."""
    bucket_cap: int = Field(default=16, ge=2)
    """A document meets the first and the previous `bucket_cap` / 2 documents of its bucket. Members of larger buckets
    that are still kept after that are compared further, until no kept pair is left unexamined."""
    partitions: int = Field(default=16, ge=1)
    """Hash ranges that the digests, bands and pairs are exchanged in."""
    containment: float = Field(default=0.0, ge=0, le=1)
    """Drop a document when this share of its shingles lies in one larger kept document; 0 switches it off."""
    containment_shingles: int = Field(default=50, ge=1)
    """Documents with fewer shingles are never dropped as contained."""
    containment_sample: int = Field(default=8, ge=1)
    """One shingle in this many is looked up; of 45 shared shingles none is with probability 0.2 %."""
    resolution: Literal["auto", "local", "rounds"] = "auto"
    """Where the verified pairs are resolved: in this process, or in rounds of jobs. Changes no byte."""

    @model_validator(mode="after")
    def _bands_and_rows(self) -> "DeduplicateConfig":
        if (self.bands == 0) != (self.rows == 0):
            raise ValueError("bands and rows: give both, or neither to follow from recall")
        if self.near and not self.bands:
            choose_banding(self.threshold, self.recall, self.permutations)
        return self

    @property
    def banding(self) -> tuple[int, int]:
        """(bands, rows) in force."""
        if self.bands:
            return self.bands, self.rows
        return choose_banding(self.threshold, self.recall, self.permutations)

    @property
    def signature_width(self) -> int:
        """MinHash values in each signature; 0 without near-duplicates."""
        if not self.near:
            return 0
        return self.bands * self.rows or self.permutations


class SubstringsConfig(Section):
    """Runs of words that kept documents share: whole sentences and lines inside a run are cut from the later document.

    The earlier one in the total order of `deduplicate` keeps them; what is cut from a document always stands in others.
    """

    min_words: int = Field(default=0, ge=0, le=10_000)
    """Words of the least run, 50 or more; 0 switches the stage off. Words are those that spaces or punctuation part,
    also in scripts without spaces: there a run is as many clauses."""

    @model_validator(mode="after")
    def _off_or_long(self) -> "SubstringsConfig":
        if 0 < self.min_words < 8:
            raise ValueError("min_words: 0 for off, or at least 8: everyone writes the same few words")
        return self
