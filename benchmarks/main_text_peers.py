"""The peers of main_text.py, in an interpreter of their own: `main_text_peers.py NAME PAGES.json` prints JSON."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
PAGE_SECONDS = 60
SKIP = ["nav", "footer", "aside", ".footer", "#footer", "[role=navigation]", "[role=search]", "[role=contentinfo]"]

Extractor = Callable[[str], str]


def resiliparse(**options: object) -> Callable[[], Extractor]:
    def load() -> Extractor:
        from resiliparse.extract.html2text import extract_plain_text

        return lambda html: extract_plain_text(html, **{"alt_texts": False, **options})

    return load


def trafilatura(**options: object) -> Callable[[], Extractor]:
    def load() -> Extractor:
        from trafilatura import extract

        return lambda html: extract(html, **{"include_comments": False, **options}) or ""

    return load


def trafilatura_html2txt() -> Extractor:
    from trafilatura import html2txt

    return html2txt


def selectolax() -> Extractor:
    from selectolax.lexbor import LexborHTMLParser

    def run(html: str) -> str:
        tree = LexborHTMLParser(html)
        tree.strip_tags(["script", "style", "noscript", "head", *SKIP])
        root = tree.css_first("main,article,[role=main]") or tree.body
        return root.text(separator=" ") if root is not None else ""

    return run


def justext() -> Extractor:
    import justext as library

    stop = library.get_stoplist("English")
    return lambda html: "\n".join(p.text for p in library.justext(html, stop) if not p.is_boilerplate)


def readability() -> Extractor:
    import lxml.html
    from readability import Document

    def run(html: str) -> str:
        page = Document(html)
        return lxml.html.fromstring(page.summary()).text_content()

    return run


def newspaper() -> Extractor:
    from newspaper import Article

    def run(html: str) -> str:
        article = Article("http://example.com/", fetch_images=False)
        article.download(input_html=html)
        article.parse()
        return article.text

    return run


def boilerpy(name: str) -> Callable[[], Extractor]:
    def load() -> Extractor:
        from boilerpy3 import extractors

        return getattr(extractors, name)(raise_on_failure=False).get_content

    return load


def html_text() -> Extractor:
    from html_text import extract_text

    return extract_text


def inscriptis() -> Extractor:
    from inscriptis import get_text

    return get_text


def html2text() -> Extractor:
    from html2text import HTML2Text

    def run(html: str) -> str:
        maker = HTML2Text(bodywidth=0)
        maker.ignore_links = maker.ignore_images = True
        return maker.handle(html)

    return run


PEERS: dict[str, Callable[[], Extractor]] = {
    "resiliparse, main content": resiliparse(main_content=True),
    "resiliparse, main content, selectors": resiliparse(main_content=True, skip_elements=SKIP),
    "resiliparse, whole page, selectors": resiliparse(skip_elements=SKIP),
    "resiliparse, whole page": resiliparse(),
    "trafilatura": trafilatura(),
    "trafilatura, fast": trafilatura(fast=True),
    "trafilatura, precision": trafilatura(favor_precision=True),
    "trafilatura, recall": trafilatura(favor_recall=True),
    "trafilatura, html2txt": trafilatura_html2txt,
    "selectolax, selectors": selectolax,
    "justext": justext,
    "readability-lxml": readability,
    "newspaper4k": newspaper,
    "boilerpy3, article": boilerpy("ArticleExtractor"),
    "boilerpy3, default": boilerpy("DefaultExtractor"),
    "html-text": html_text,
    "inscriptis": inscriptis,
    "html2text": html2text,
}
QUICK = ("resiliparse, main content", "trafilatura, fast", "selectolax, selectors")


class _Late(BaseException):
    pass


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _Late


def cpu_seconds(children: bool) -> float:
    """CPU of this process, and of those that it has running."""
    spent = time.process_time()
    if children:
        import psutil

        spent += sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())
    return spent


def run_pages(extract: Extractor, pages: list[str], children: bool = False) -> tuple[list[str], float, int]:
    """Texts, CPU seconds and the number of pages that failed."""
    signal.signal(signal.SIGALRM, _alarm)
    texts, failed = [], 0
    extract("<html><body><p>Warm up.</p></body></html>")
    if children:
        extract("<p>x</p>" * 5000)  # starts the guard
    started = cpu_seconds(children)
    for page in pages:
        signal.alarm(PAGE_SECONDS)
        try:
            texts.append(extract(page))
        except (Exception, _Late):
            texts.append("")
            failed += 1
        finally:
            signal.alarm(0)
    return texts, cpu_seconds(children) - started, failed


def peer_main(name: str, path: str) -> None:
    """What the peers' interpreter runs: a JSON object on the standard output."""
    import logging

    logging.disable(logging.CRITICAL)
    sets = json.loads(Path(path).read_text())
    try:
        extract = PEERS[name]()
        extract("<html><body><p>Warm up.</p></body></html>")
    except ImportError:
        print("null")
        return
    print(json.dumps({key: run_pages(extract, pages) for key, pages in sets.items()}))


if __name__ == "__main__":
    peer_main(sys.argv[1], sys.argv[2])
