"""[input] and what is done to a record's form: [html], [repair]."""

from typing import Literal

from pydantic import Field

from pipeline.sections.section import Section


class InputConfig(Section):
    """How raw files become records."""

    text_fields: tuple[str, ...] = ("text", "content")
    """Fields of JSON, CSV, TSV, Parquet and Arrow records that may hold the text; the first one present is used.
    A list of strings is joined by newlines. "body.text" is the field `text` of the object or struct `body`, unless a
    field has that very name."""
    query: str | None = Field(default=None, min_length=1)
    """SELECT statement that is run on every SQLite database; a row is a record, its columns are the fields. Without it
    the one table that has a text field is read."""
    exclude: tuple[str, ...] = ()
    """Shell patterns; input files whose path below the input root matches one are left out."""
    formats: dict[
        str, Literal["text", "html", "json", "jsonl", "csv", "tsv", "wikiextractor", "mail", "mbox", "warc"]
    ] = {}
    """Shell pattern -> format of the input files whose path below the input root matches, whatever their extension says
    (but .gz and the like are undone first); the first pattern that matches decides. Not for members of archives."""
    split_characters: int = Field(default=0, ge=0)
    """Cut plain-text files into documents of about this many characters, at paragraph ends; 0 keeps files whole."""
    unit_bytes: int = Field(default=16 << 20, ge=1)
    """Input files are grouped in path order into work units of about this many bytes; one unit makes one part file.
    Beam gives the units to the workers before they begin, so that a few of them are shared out unevenly.
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


class HtmlConfig(Section):
    """How the main text of HTML pages is found."""

    extractor: Literal["resiliparse", "trafilatura"] = "resiliparse"
    """"trafilatura" is a package of its own, about twenty times slower, and leaves fewer teasers in news pages."""
    whole: tuple[str, ...] = ()
    """Shell patterns; pages whose path below the input root matches keep all their text, menus too. [boilerplate] then
    cuts what a site repeats: for pages whose main text no extractor finds."""
    max_bytes: int = Field(default=10 << 20, ge=1)
    """Larger pages (as UTF-8) are only stripped of their tags, as are those beyond the next two limits."""
    max_tags: int = Field(default=500_000, ge=1)
    max_depth: int = Field(default=512, ge=1, le=4096)
    """Elements in elements; 512 is what browsers keep. The search for main content is quadratic in it."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """CPU time of one page; after it the page is only stripped of its tags. Only pages that get round the limits above
    come near it, so that results do not hang on a machine's speed."""


class RepairConfig(Section):
    """What repair does beyond the text of ftfy, NFC and bare white space, which are not for choice."""

    page_furniture: bool = True
    """Cut the running headers and footers of printed pages (form feeds, "[Page 7]") and join what they tore apart."""
    join_hyphens: bool = False
    """Join words that were hyphenated at line ends, where the text shows the whole word elsewhere."""
