"""What the server answers, byte by byte: its pages to their reader, and nothing to anybody else."""

import html
import json
import re
import socket

import pytest

from pipeline.serve.index import AuditIndex
from pipeline.serve.pages import policy_of
from pipeline.serve.server import HEADERS, Server
from pipeline.serve.site import Site


@pytest.fixture
def ask(server: Server):
    """(target, headers, method) -> (status, headers, body) of one request, sent as it stands."""

    def send(target: str, *headers: str, method: str = "GET", host: bool = True, version: str = "HTTP/1.1"):
        lines = [f"{method} {target} {version}", *([f"Host: 127.0.0.1:{server.server_port}"] if host else []), *headers]
        return raw(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))

    def raw(request: bytes):
        with socket.create_connection(server.server_address, timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body.decode()

    send.raw = raw
    return send


def test_it_listens_on_loopback_alone(server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_the_report_with_a_link_to_the_search(ask) -> None:
    status, headers, body = ask("/")
    assert status == 200
    assert "the report" in body
    assert '<a href="/search">' in body
    assert headers["Content-Security-Policy"] == "default-src 'none'; form-action 'none'; frame-ancestors 'none'"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert json.loads(ask("/report.json")[2]) == {"schema": "x"}


@pytest.mark.parametrize("target", ["/", "/report.json", "/search", "/search.json?text=a", "/record?n=1", "/nothing"])
def test_every_answer_is_guarded(ask, target: str) -> None:
    status, headers, body = ask(target)
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert int(headers["Content-Length"]) == len(body.encode())
    head = ask(target, method="HEAD")
    assert (head[0], head[2]) == (status, "")
    assert head[1]["Content-Length"] == headers["Content-Length"]


def test_the_search_page(ask, rows) -> None:
    status, headers, body = ask("/search?verdict=filtered&size=5&page=2")
    assert status == 200
    assert "6 to 10 of 20 records" in body
    assert 'href="/search?verdict=filtered&amp;page=3&amp;size=5"' in body
    assert "was filtered: rule words decided, its score 40 is below the limit 50" in body
    assert "form-action 'self'" in headers["Content-Security-Policy"]
    assert re.findall(r'<a href="/record\?n=(\d+)">', body) == ["15", "16", "17", "18", "19"]
    duplicate = ask("/search?kind=near")[2]
    assert 'href="/search?record=web%2Fpage-0.html%230"' in duplicate
    assert "No record meets these filters." in ask("/search?text=nothing+like+this")[2]
    assert "There is no such page; the last one is 5." in ask("/search?page=99")[2]


def test_the_search_as_json(ask, rows) -> None:
    status, headers, body = ask("/search.json?doc=001")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    told = json.loads(body)
    assert (told["total"], told["page"], told["size"]) == (16, 1, 20)
    assert told["rows"][3] == {"n": 19, **rows[19]}


def test_one_record(ask) -> None:
    body = ask("/record?n=12")[2]
    assert "web/page-12.html#12 (source web) was filtered" in body
    assert re.search(r"words</bdi></th>.*\n*.*<b>decided</b>", body)
    assert ask("/record?n=100")[0] == 404
    for wrong in ("", "n=", "n=-1", "n=1.5", "n=x", "n=1&n=2", "n=" + "9" * 13, "n=%D9%A1", "n=1%00"):
        assert ask(f"/record?{wrong}")[0] == 400


@pytest.mark.parametrize(
    "page", ["/search?text=script", "/record?n=40", "/search?source=%3Cscript%3Ealert(2)%3C/script%3E"]
)
def test_hostile_texts_are_text(ask, page: str) -> None:
    body = ask(page)[2]
    assert len(re.findall("<script", body)) == 1
    assert "<img" not in body
    assert "alert(1)" in html.unescape(body) or "alert(2)" in html.unescape(body)
    assert not set("\x00\x1b\u202e\u2066") & set(body)


@pytest.mark.parametrize(
    "target",
    [
        "/../manifest.json",
        "/report/../manifest.json",
        "/%2e%2e/manifest.json",
        "/..%2fmanifest.json",
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/....//....//etc/passwd",
        "/..\\..\\etc\\passwd",
        "/manifest.json",
        "/audit/audit-00000.arrow",
        "/report/index.html",
        "/index.html",
        "//etc/passwd",
        "//search",
        "/search/",
        "/%73earch",
        "/search%00",
        "/search\x00",
        "/search;x",
        "/SEARCH",
        "/etc/passwd",
        "etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1/search",
        "http://evil.example/",
        "*",
        "?n=1",
        "/\udcff\udcfe",
    ],
)
def test_no_path_leads_out(ask, target: str) -> None:
    status, _, body = ask(target)
    assert status == 404
    assert body == "There is no such page here.\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "X"])
def test_no_other_method(ask, method: str) -> None:
    status, headers, body = ask("/search", "Content-Length: 0", method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    assert method not in body or method == "X"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1:1",
        "127.0.0.1",
        "",
        "0.0.0.0:{port}",
    ],
)
def test_no_other_name(ask, server, host: str) -> None:
    """A name of somebody else that was made to point here: DNS rebinding."""
    for target in ("/", "/search", "/search.json"):
        status, _, body = ask(target, f"Host: {host.format(port=server.server_port)}", host=False)
        assert status == 421
        assert "loopback" in body


def test_one_name_and_not_two(ask, server) -> None:
    port = server.server_port
    assert ask("/search", f"Host: localhost:{port}", host=False)[0] == 200
    assert ask("/search", f"Host: [::1]:{port}", host=False)[0] == 200
    assert ask("/search", f"Host: LOCALHOST:{port}", host=False)[0] == 200
    assert ask("/search", host=False)[0] == 421
    assert ask("/search", f"Host: 127.0.0.1:{port}")[0] == 421
    assert ask("/search", host=False, version="HTTP/1.0")[0] == 421


def test_other_sites_pages_read_nothing(ask) -> None:
    assert ask("/search.json", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")[0] == 403
    assert ask("/search", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")[0] == 200
    assert ask("/search.json", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors")[0] == 200


def test_huge_and_broken_requests(ask) -> None:
    assert ask("/search?text=" + "x" * 7_000)[0] == 400
    assert ask("/search?text=" + "x" * 9_000)[0] == 414
    assert ask("/search?text=" + "x" * 100_000)[0] == 414
    assert ask("/search", *[f"X-{n}: 1" for n in range(200)])[0] == 431
    assert ask("/search", "X: " + "y" * 70_000)[0] == 431
    assert ask.raw(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")[0] == 400
    assert ask.raw(b"GET /search HTTP/9.9\r\n\r\n")[0] == 505
    status, _, body = ask("/search?%F0%9F%92%A9\u202e=1")
    assert status == 400
    assert body.isascii()
    assert ask("/search?text=%FF%FE%00%ED%A0%80")[0] == 200


def test_a_page_without_a_policy_runs_nothing() -> None:
    assert policy_of("<html>") == "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
    weak = '<meta http-equiv="Content-Security-Policy" content="script-src *">'
    assert policy_of(weak) == policy_of("")


def test_an_audit_that_is_gone_is_told(tmp_path, audited, audit_row) -> None:
    path = audited(tmp_path / "data", [audit_row(f"a/{n}#1", f"{n:032x}") for n in range(90)])
    (path / "report").mkdir()
    for name in ("index.html", "report.json"):
        (path / "report" / name).write_text("{}")
    (tmp_path / "scratch").mkdir()
    index = AuditIndex(path, tmp_path / "scratch")
    routes = Site(path, index).routes()
    assert routes["/record"]("n=89").status == 200
    (path / "audit/audit-00000.arrow").unlink()
    for route, query in (("/record", "n=1"), ("/search", ""), ("/search.json", "doc=0")):
        answer = routes[route](query)
        assert answer.status == 500
        assert b"the audit can no longer be read: " in answer.body
        assert b"audit-00000.arrow: no such shard" in answer.body
    index.close()
