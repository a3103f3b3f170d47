"""What the server answers: the report, the search of the audit and its rows, as pages and as JSON."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson

from pipeline.config import ConfigError
from pipeline.inspect.rules import rules_of
from pipeline.serve.index import AuditIndex, SearchError
from pipeline.serve.pages import policy_of, record_page, search_page, with_search
from pipeline.serve.query import QueryError, fields_of, parse_query
from pipeline.serve.server import JSON, NOTHING, Answer, Route, refusal
from schemas.manifest import read_manifest
from schemas.shard import SchemaError


def _page(text: str) -> Answer:
    return Answer(text.encode(), policy=policy_of(text))


class Site:
    """The routes of one output. Pages of the report are read once, here."""

    def __init__(self, directory: Path, index: AuditIndex) -> None:
        """Raises OSError where the report is not there, ManifestError."""
        self.index = index
        folder = directory / "report"
        self._report = _page(with_search((folder / "index.html").read_text(encoding="utf-8")))
        self._numbers = Answer((folder / "report.json").read_bytes(), JSON)
        try:
            self._rules = rules_of(read_manifest(directory))
        except ConfigError:  # of another version: scores are shown, but not on which side of a limit they lie
            self._rules = {}

    def routes(self) -> dict[str, Route]:
        return {
            "/": lambda query: self._report,
            "/report.json": lambda query: self._numbers,
            # Browsers ask for it by themselves.
            "/favicon.ico": lambda query: Answer(b"", "image/x-icon", NOTHING, HTTPStatus.OK),
            "/search": self._asked(self._search),
            "/search.json": self._asked(self._search_json),
            "/record": self._asked(self._record),
        }

    def _asked(self, route: Route) -> Route:
        def answer(query: str) -> Answer:
            try:
                return route(query)
            except QueryError as error:
                return refusal(HTTPStatus.BAD_REQUEST, str(error).encode("ascii", "backslashreplace").decode())
            except SearchError as error:
                return refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            except (SchemaError, OSError) as error:
                return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"the audit can no longer be read: {error}")

        return answer

    def _search(self, query: str) -> Answer:
        asked = parse_query(query)
        return _page(search_page(asked, self.index.search(asked), self.index.facets, len(self.index)))

    def _search_json(self, query: str) -> Answer:
        asked = parse_query(query)
        found = self.index.search(asked)
        told: dict[str, Any] = {"total": found.total, "page": asked.page, "size": asked.size, "rows": found.rows}
        return Answer(orjson.dumps(told), JSON)

    def _record(self, query: str) -> Answer:
        number = fields_of(query).get("n", "")
        if not (number.isascii() and number.isdigit() and len(number) <= 12):
            raise QueryError("n: give the number of a row, as the search tells it")
        try:
            row = self.index.row(int(number))
        except IndexError:
            return refusal(HTTPStatus.NOT_FOUND, "The audit has no such row.")
        return _page(record_page(row, self._rules))
