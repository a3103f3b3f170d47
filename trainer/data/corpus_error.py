"""The one error of a corpus that cannot be used."""


class CorpusError(ValueError):
    """A corpus cannot be used. The message names the file, what was found there and what to do."""
