"""[rules], [language], [privacy]: what decides about a record."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from pipeline.sections.section import Section
from pipeline.text.language_codes import LANGUAGES
from pipeline.text.list_file import entries_of, read_list, sha256_of


class CustomRule(Section):
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


class ListRule(Section):
    """A rule over words or URLs that a file lists. It is called list.NAME and always decides, after all others.

    The config of a manifest holds the list's digest in place of `path` and `entries`.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    kind: Literal["words", "urls"] = "words"
    """"words": words and phrases, in any case; whole words, but in unspaced scripts letters in a row. "urls": domains
    (with those below them) and beginnings of URLs, looked for among the URLs in the text."""
    path: str = Field(default="", exclude=True)
    """UTF-8 text, one entry a line, '#' begins a comment; relative to the directory of the config file."""
    entries: tuple[str, ...] = Field(default=(), exclude=True, repr=False)
    """What the list names, in place of `path`."""
    sha256: str = ""
    """Of the file; where it is given another content is an error."""
    max_count: int | None = Field(default=None, ge=0)
    """Records with more occurrences are dropped."""
    max_share: float | None = Field(default=None, ge=0, le=1)
    """In place of `max_count`: share of the words, or of the URLs, that may be the list's."""
    scripts: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    not_languages: tuple[str, ...] = ()
    """Scripts and languages that it is for, as in [[rules.custom]]."""
    meaning: str = "too much of what a list names"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, dict):
            return values
        path, entries, given = (values.get(key) for key in ("path", "entries", "sha256"))
        if path and entries:
            raise ValueError("path and entries: give one of them")
        if isinstance(path, str) and path:
            entries, found = read_list(Path((info.context or {}).get("base", ".")) / path)
        elif isinstance(entries, list | tuple) and all(isinstance(entry, str) for entry in entries) and entries:
            entries = entries_of(entries)
            found = sha256_of(entries)
        else:
            return values
        if given not in (None, "", found):
            raise ValueError(f"sha256 is {given}, but the list's is {found}: it has changed")
        return {**values, "entries": entries, "path": "", "sha256": found}

    @model_validator(mode="after")
    def _whole(self) -> "ListRule":
        if not self.sha256:
            raise ValueError("path: give the file of the list, or entries")
        if (self.max_count is None) == (self.max_share is None):
            raise ValueError("give one of max_count and max_share")
        return self


class RulesConfig(Section):
    """Which rules decide. All rules of all sets are always scored and stand in the audit."""

    sets: tuple[
        Literal[
            "gopher-quality",
            "gopher-repetition",
            "c4",
            "c4-datatrove",
            "fineweb",
            "siliang",
            "gopher-quality-datatrove",
            "gopher-repetition-datatrove",
            "fineweb-datatrove",
        ],
        ...,
    ] = ("siliang",)
    limits: dict[str, float] = {}
    """Rule name -> limit, in place of the rule's default."""
    language_limits: dict[str, dict[str, float]] = {}
    """Language -> rule name -> limit for texts in it, in place of the rule's other limit."""
    disable: tuple[str, ...] = ()
    """Rules of the chosen sets that never decide."""
    custom: tuple[CustomRule, ...] = ()
    """Rules of your own, as [[rules.custom]] tables."""
    lists: tuple[ListRule, ...] = ()
    """Lists of words and URLs, as [[rules.lists]] tables."""


class LanguageConfig(Section):
    """Languages that are kept, and how certain the identifier must be. Texts in which no language is told are "und",
    with a score of 0."""

    keep: tuple[str, ...] = ()
    """ISO 639-1 codes (and "und"); documents in other languages are dropped. None: all are kept."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Documents whose language has a lower score are dropped; above 0 those without a language are, too."""
    min_scores: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """Language -> the least score wanted of its documents, in place of `min_score`."""
    vote: bool = False
    """Tell the language of single paragraphs, too, for rules over `language_share`; without it the share is 1."""

    @model_validator(mode="after")
    def _codes(self) -> "LanguageConfig":
        for key, codes in (("keep", self.keep), ("min_scores", self.min_scores)):
            unknown = [code for code in codes if code not in LANGUAGES]
            if unknown:
                raise ValueError(f"{key}: no language is called {', '.join(unknown)}; known: {', '.join(LANGUAGES)}")
        return self


class PrivacyConfig(Section):
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
