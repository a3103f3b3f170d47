"""Questions to the user about databases, before anything is read: which table, which columns."""

from collections.abc import Sequence

from pipeline.config import InputConfig
from pipeline.io.decompress import ReadError
from pipeline.io.filesystem import is_url
from pipeline.io.formats.names import compression_of, format_of
from pipeline.io.formats.sqlite import check_query
from pipeline.io.inputs import InputError, InputFile

_ASKS = ("invalid_query", "missing_text")


def check_databases(files: Sequence[InputFile], config: InputConfig) -> None:
    """Raises InputError if a query is needed, or the query does not fit, for every local database there is.

    Where it fits some, the others are quarantined: a tree may hold databases that are no text.
    """
    first: tuple[str, str] | None = None
    for file in files:
        if file.problem or is_url(file.path) or format_of(file.path) != "sqlite" or compression_of(file.path):
            continue
        try:
            check_query(file.path, config)
            return
        except ReadError as error:
            if error.reason in _ASKS and first is None:
                first = file.relative, error.detail
        except OSError:
            continue  # the worker that reads it says so
    if first is not None:
        raise InputError(f"{first[0]}: {first[1]}. Give --query 'SELECT ... AS text FROM ...'")
