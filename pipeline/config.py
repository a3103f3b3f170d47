"""The pipeline's typed config: TOML into frozen models. An unknown key or a value out of range is an error."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """A config file that cannot be used; the message names the key and what is allowed."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputConfig(_Section):
    """How raw files become records."""

    text_fields: tuple[str, ...] = ("text", "content")
    """Fields of JSON, CSV, TSV, Parquet and Arrow records that may hold the text; the first one present is used.
    A list of strings is joined by newlines. "body.text" is the field `text` of the object or struct `body`, unless a
    field has that very name."""
    exclude: tuple[str, ...] = ()
    """Shell patterns; input files whose path below the input root matches one are left out."""
    formats: dict[
        str, Literal["text", "html", "json", "jsonl", "csv", "tsv", "wikiextractor", "mail", "mbox", "warc"]
    ] = {}
    """Shell pattern -> format of the input files whose path below the input root matches, whatever their extension says
    (but .gz and the like are undone first); the first pattern that matches decides. Not for members of archives."""
    split_characters: int = Field(default=0, ge=0)
    """Cut plain-text files into documents of about this many characters, at paragraph ends; 0 keeps files whole."""
    unit_bytes: int = Field(default=32 << 20, ge=1)
    """Input files are grouped in path order into work units of about this many bytes; one unit makes one part file.
    Part of the config because it decides which document lies in which shard."""
    max_record_bytes: int = Field(default=10 << 20, ge=1)
    """Longer records (or lines) are quarantined."""
    max_expansion: float = Field(default=200.0, ge=1)
    """A compressed file that grows by more than this factor is a decompression bomb and is quarantined."""
    max_file_bytes: int = Field(default=64 << 30, ge=1)
    """Bytes of one file after decompression; of an archive, of all its members together."""
    max_members: int = Field(default=100_000, ge=1)
    """Entries of one archive; those behind are not read, which is one quarantined record."""
    max_archive_depth: int = Field(default=2, ge=1)
    """Archives in archives: 1 reads the members of an archive, 2 those of an archive in an archive, and so on."""
    max_quarantined: float = Field(default=0.05, ge=0, le=1)
    """Share of quarantined records above which the run fails."""
    priority: tuple[str, ...] = ()
    """Source names, most trusted first: between duplicates the earlier source keeps the document."""


class CustomRule(_Section):
    """A rule of the user's own, over any statistic. It is called custom.NAME and always decides, after all others."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    statistic: str
    comparison: Literal["min", "max"]
    """"min": records below the limit are dropped; "max": those above it."""
    limit: float
    scripts: tuple[str, ...] | None = None
    """Scripts of text that it is for; all, if not given."""
    languages: tuple[str, ...] | None = None
    """ISO 639-1 codes of languages that it is for; all, if not given."""
    not_languages: tuple[str, ...] = ()
    meaning: str = "a rule of this config"


class RulesConfig(_Section):
    """Which rules decide. All rules of all sets are always scored and stand in the audit."""

    sets: tuple[Literal["gopher-quality", "gopher-repetition", "c4", "c4-datatrove", "fineweb", "siliang"], ...] = (
        "gopher-quality",
    )
    limits: dict[str, float] = {}
    """Rule name -> limit, in place of the rule's default."""
    disable: tuple[str, ...] = ()
    """Rules of the chosen sets that never decide."""
    custom: tuple[CustomRule, ...] = ()
    """Rules of your own, as [[rules.custom]] tables."""


class PrivacyConfig(_Section):
    """Personal data in kept documents: masked by a tag, and documents full of it dropped. See docs/privacy.md."""

    kinds: tuple[Literal["email", "phone", "ip", "credit_card", "iban", "ssn", "secret"], ...] = (
        "email",
        "phone",
        "credit_card",
        "iban",
        "ssn",
        "secret",
    )
    """What is masked; none switches the step off. IP addresses are not among the defaults: in texts they are servers
    and the examples of manuals, seldom a person's."""
    max_per_document: int = Field(default=100, ge=0)
    """Documents with more hits (of all kinds together) are dropped; 0 never drops."""
    keep_reserved: bool = True
    """IP addresses of private, loopback, documentation and other reserved ranges stay, and e-mail addresses under
    names that are reserved for examples (example.com)."""


class DeduplicateConfig(_Section):
    """Exact copies, then near-duplicates verified by exact Jaccard."""

    near: bool = True
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Exact Jaccard from which a document counts as a copy of a kept one."""
    shingle_words: int = Field(default=5, ge=1, le=32)
    """Words per shingle; scripts without spaces use `shingle_characters`."""
    shingle_characters: int = Field(default=8, ge=1, le=64)
    min_shingles: int = Field(default=5, ge=1)
    """Documents with fewer shingles take part in exact deduplication only."""
    bands: int = Field(default=20, ge=1)
    rows: int = Field(default=6, ge=1)
    """bands x rows permutations; at Jaccard 0.8 the default finds 99.8 % of pairs, at 0.5 27 %."""
    bucket_cap: int = Field(default=16, ge=2)
    """A document meets the first and the previous `bucket_cap` / 2 documents of its bucket: never all pairs."""
    partitions: int = Field(default=16, ge=1)
    """Hash ranges that the digests and bands are shuffled in."""


class VocabularyConfig(_Section):
    size: int = Field(default=16384, ge=300, le=1 << 20)
    """Pieces wanted. Lowered, and said so, where the corpus is too small."""
    model: Literal["unigram", "bpe"] = "unigram"
    normalizer: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    character_coverage: float = Field(default=0.9995, ge=0.98, le=1)
    sample_bytes: int = Field(default=20 << 20, ge=1 << 10)
    """Kept text the vocabulary is learnt from, chosen by document hash."""
    threads: int = Field(default=2, ge=1)
    """SentencePiece's threads. A config value, not the number of workers: it may change the learnt model."""


class WordsConfig(_Section):
    """Rare words and their context notes (Taking Notes on the Fly)."""

    rare_low: int = Field(default=0, ge=0)
    rare_high: int = Field(default=0, ge=0)
    """Words with low <= count <= high are rare. 0, 0 scales TNF's 100..500 at 3.4 billion words to the corpus."""
    contexts: int = Field(default=8, ge=1, le=256)
    """Windows kept for each rare word, chosen by hash, one per document while there are documents enough."""
    half_window: int = Field(default=16, ge=1, le=512)
    """Tokens kept on each side of the word."""

    @model_validator(mode="after")
    def _range(self) -> "WordsConfig":
        if self.rare_low > self.rare_high:
            raise ValueError("rare_low must not be above rare_high")
        return self


class ShardsConfig(_Section):
    valid_share: float = Field(default=0.01, ge=0, lt=1)
    """Share of documents, by hash of doc_id, that is held out."""
    shard_tokens: int = Field(default=1 << 24, ge=1 << 10)
    """Tokens of one train or valid shard, about."""


class PipelineConfig(_Section):
    """Everything that may change the bytes of the output, and nothing else."""

    input: InputConfig = InputConfig()
    rules: RulesConfig = RulesConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    deduplicate: DeduplicateConfig = DeduplicateConfig()
    vocabulary: VocabularyConfig = VocabularyConfig()
    words: WordsConfig = WordsConfig()
    shards: ShardsConfig = ShardsConfig()


def _explain(error: ValidationError, name: str) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            section: Any = PipelineConfig
            for part in problem["loc"][:-1]:
                # A number is a place in a tuple of sections.
                section = get_args(section)[0] if isinstance(part, int) else section.model_fields[str(part)].annotation
            lines.append(f"{name}: unknown key '{key}'; allowed here: {', '.join(section.model_fields)}")
        else:
            lines.append(f"{name}: key '{key}': {problem['msg']} (found {problem['input']!r})")
    return "\n".join(lines)


def make_config(values: Mapping[str, Any], name: str = "config") -> PipelineConfig:
    """Raises ConfigError naming every bad key and what is allowed there."""
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, name)) from error


def load_config(path: str | Path | None) -> PipelineConfig:
    """Reads a TOML file; None gives the defaults."""
    if path is None:
        return PipelineConfig()
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    return make_config(values, str(path))
