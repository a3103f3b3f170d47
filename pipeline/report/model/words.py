"""Tokens, words, rare words, and how well the vocabulary fits."""

from pipeline.report.facts import Counting, RareFacts
from pipeline.report.model.base import Facts, Frozen


class SourceTokens(Frozen):
    """Tokens of one source in each split."""

    name: str
    train: int = 0
    valid: int = 0
    test: int = 0


class Tokens(Frozen):
    """Token ids in the shards, and what the vocabulary made of the text."""

    train: int
    valid: int
    train_documents: int
    valid_documents: int
    test: int = 0
    test_documents: int = 0
    by_source: tuple[SourceTokens, ...] = ()
    vocabulary_size: int
    unused_pieces: int
    """Ordinary pieces of the vocabulary that never occur."""
    byte_fallback_share: float
    """Share of all tokens that are single bytes of a character unknown to the vocabulary."""
    characters_per_token: float | None
    """Clean characters of kept documents per token."""


class Word(Frozen):
    """A word and how often it occurs."""

    word: str
    count: int
    documents: int


class Words(Frozen):
    """How often words occur in the kept documents."""

    distinct: int
    """Listed words."""
    total: int
    """Their occurrences."""
    frequent: tuple[Word, ...] = ()
    zipf: tuple[tuple[int, int], ...] = ()
    """(rank, count) at logarithmically spaced ranks."""
    counting: Counting | None = None
    """None where the count stage's files are gone."""


class Window(Frozen):
    """One context of a rare word, decoded; the word stands between left and right."""

    doc_id: str
    left: str
    word: str
    right: str


class RareWord(Frozen):
    """A rare word with some of its contexts."""

    word: str
    count: int
    documents: int
    windows: tuple[Window, ...] = ()


class Rare(Frozen):
    """Words that hold notes."""

    words: int
    occurrences: int
    examples: tuple[RareWord, ...] = ()
    facts: RareFacts | None = None
    """None where the encode stage's files are gone."""


class Cover(Facts):
    """What the tokens of some text cover."""

    language: str = ""
    documents: int = 0
    characters: int = 0
    bytes: int = 0
    tokens: int = 0
    byte_tokens: int = 0
    """Tokens that are single bytes."""
    characters_per_token: float | None = None
    bytes_per_token: float | None = None
    tokens_per_word: float | None = None
    byte_share: float | None = None


class Fertility(Facts):
    """How words of some frequency are cut; each word counts once."""

    low: int
    """Least occurrences of a word of this band."""
    high: int
    words: int
    tokens_per_word: float | None = None
    whole: float | None = None
    """Share of them that are one piece."""
    with_bytes: float | None = None
    """Share of them that hold byte pieces."""


class PieceCount(Facts):
    """A piece and how often it occurs."""

    piece: str
    count: int


class Pieces(Facts):
    """The pieces of the vocabulary, over the whole corpus."""

    ordinary: int
    """Pieces that are text of more than a byte."""
    unused: int
    """Those that never occur."""
    unused_examples: tuple[str, ...] = ()
    longest: tuple[PieceCount, ...] = ()


class Vocabulary(Facts):
    """How well the vocabulary fits."""

    size: int
    model: str | None = None
    """Kind of model, as SentencePiece names it; None where the model was given."""
    given: bool = False
    """It was not learnt from this corpus."""
    note: str | None = None
    """Which part of the corpus it was learnt from, where that is not all of it."""
    total: Cover | None = None
    """Over the text that it was learnt from."""
    languages: tuple[Cover, ...] = ()
    fertility: tuple[Fertility, ...] = ()
    """Over the whole corpus."""
    pieces: Pieces
