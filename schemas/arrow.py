"""Arrow schemas of every file the pipeline hands over, field by field.

Files are Arrow IPC *files* (random access, truncation is detected on open), written in batches of BATCH_ROWS rows.
Examples are uncompressed so that they can be memory-mapped; all others are zstd-compressed.
"""

import pyarrow as pa

BATCH_ROWS = 1024
"""Rows of every record batch but the last of a file."""


def _field(name: str, kind: pa.DataType, meaning: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


def token_type(vocabulary_size: int) -> pa.DataType:
    """uint16 while every id fits, else uint32."""
    return pa.uint16() if vocabulary_size <= 1 << 16 else pa.uint32()


def _list(kind: pa.DataType | pa.Field) -> pa.ListType:
    item = kind if isinstance(kind, pa.Field) else pa.field("item", kind, nullable=False)
    return pa.list_(item)


DOCUMENTS = pa.schema(
    [
        _field("doc_id", pa.string(), "32 hex digits, 128-bit BLAKE2b of the record's decoded text before any repair"),
        _field("record", pa.string(), "where it came from: path relative to the input root, '#', 1-based position"),
        _field("source", pa.string(), "name of the source the record belongs to"),
        _field("language", pa.string(), "ISO 639-1 code, or 'und' where no language was told"),
        _field("text", pa.string(), "clean text: repaired, NFC, lines separated by one newline"),
    ]
)
"""Documents that passed the rules (written by `clean`, before deduplication)."""

RARE_SPAN = pa.struct(
    [
        pa.field("start", pa.uint32(), nullable=False),
        pa.field("end", pa.uint32(), nullable=False),
        pa.field("word", pa.uint32(), nullable=False),
    ]
)
"""Token span [start, end) of one occurrence of a rare word; `word` is the `word_id` of the notes."""


def example(vocabulary_size: int) -> pa.Schema:
    """One kept document as token ids, without special pieces."""
    return pa.schema(
        [
            _field("doc_id", pa.string(), "32 hex digits; as in the audit"),
            _field("tokens", _list(token_type(vocabulary_size)), "token ids, special pieces not included"),
            _field("rare", _list(pa.field("item", RARE_SPAN, nullable=False)), "rare-word spans, ascending, disjoint"),
        ]
    )


def note(vocabulary_size: int) -> pa.Schema:
    """One rare word with its context windows, chosen by hash over the whole training split."""
    context = pa.struct(
        [
            pa.field("doc_id", pa.string(), nullable=False),
            pa.field("tokens", _list(token_type(vocabulary_size)), nullable=False),
            pa.field("start", pa.uint32(), nullable=False),
            pa.field("end", pa.uint32(), nullable=False),
        ]
    )
    return pa.schema(
        [
            _field("word_id", pa.uint32(), "0-based, ascending over all notes files; index used by `rare.word`"),
            _field("word", pa.string(), "normalised word (see pipeline/words)"),
            _field("count", pa.uint64(), "occurrences in the kept documents"),
            _field("documents", pa.uint64(), "kept documents that hold it"),
            _field(
                "contexts",
                _list(pa.field("item", context, nullable=False)),
                "windows: token ids around one occurrence; the word itself is tokens[start:end]",
            ),
            _field("family", _list(pa.uint32()), "word_ids of other rare forms of the word, ascending", nullable=True),
        ]
    )


TOKEN_FREQUENCY = pa.schema(
    [
        _field("token_id", pa.uint32(), "id in the vocabulary, ascending, every id once"),
        _field("piece", pa.string(), "its SentencePiece piece"),
        _field("count", pa.uint64(), "occurrences in the kept documents"),
        _field("documents", pa.uint64(), "kept documents that hold it"),
    ]
)

WORD_FREQUENCY = pa.schema(
    [
        _field("word", pa.string(), "normalised word; rows by falling count, then by word"),
        _field("count", pa.uint64(), "occurrences in the kept documents"),
        _field("documents", pa.uint64(), "kept documents that hold it"),
    ]
)

NGRAM_FREQUENCY = pa.schema(
    [
        _field("n", pa.uint8(), "words in it: 2 or 3"),
        _field("ngram", pa.string(), "normalised words in a row, joined by a space; rows by n, falling count, n-gram"),
        _field("count", pa.uint64(), "occurrences in the kept documents"),
        _field("documents", pa.uint64(), "kept documents that hold it"),
    ]
)

SCORE = pa.struct(
    [
        pa.field("rule", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("limit", pa.float64(), nullable=False),
    ]
)

VERDICTS = ("kept", "filtered", "duplicate", "quarantined")

AUDIT = pa.schema(
    [
        _field(
            "record",
            pa.string(),
            "path relative to the input root (of an archive's member: the archive's, '/', the member's), '#', 1-based "
            "position; the text before the last '#' names file and member; unique",
        ),
        _field("doc_id", pa.string(), "32 hex digits; raw copies share it"),
        _field("source", pa.string(), "name of the source"),
        _field("verdict", pa.string(), "kept, filtered, duplicate or quarantined"),
        _field("scores", _list(pa.field("item", SCORE, nullable=False)), "every rule that applies to the record"),
        _field("rule", pa.string(), "what decided: a rule, 'exact' or 'near', or a quarantine reason", nullable=True),
        _field("detail", pa.string(), "for people: what was found, and where in the file", nullable=True),
        _field("duplicate_of", pa.string(), "doc_id of the kept document it duplicates", nullable=True),
        _field("duplicate_record", pa.string(), "record of that kept document", nullable=True),
        _field("jaccard", pa.float64(), "exact Jaccard of the two shingle sets (1.0 for exact copies)", nullable=True),
        _field("kind", pa.string(), "of a duplicate: exact, near, contained or protected", nullable=True),
        _field("language", pa.string(), "ISO 639-1 code, or 'und'", nullable=True),
        _field("language_score", pa.float64(), "0..1, the identifier's own confidence", nullable=True),
        _field("repairs", _list(pa.string()), "names of the repairs that changed something, in order of use"),
        _field("chars_in", pa.uint64(), "code points before extraction and repair"),
        _field("chars_out", pa.uint64(), "code points of the clean text"),
        _field("excerpt", pa.string(), "for people: first 240 code points of the text as it was judged", nullable=True),
    ]
)


def numpy_name(kind: pa.DataType) -> str:
    """What numpy calls a number type of Arrow. (`to_pandas_dtype` asks for pandas, which is no requirement.)"""
    name = str(kind)
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(name, name)
