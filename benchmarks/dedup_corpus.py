"""A test corpus for deduplication: passages of real text of about 1 kB with planted copies, as JSON lines.

    python benchmarks/dedup_corpus.py OUTPUT --documents N [--data DIR ...]

Same data and N, same bytes: everything is drawn from hashes. Of 100 documents about 63 are passages that nothing was
done to, 27 take part in a planted family, and one is a mail from one template (10,000 of 1,000,000):

- near: one to three edited copies, at a Jaccard (word 5-grams) between 0.5 and 0.95 with the passage
- exact: a copy that differs in case, punctuation or spacing only
- chain: a, b, c with Jaccard about 0.85 between neighbours and 0.73 between a and c
- template: mails that share their frame and differ in names and numbers, in a sentence, or in half of the text

`truth.jsonl` beside the shards holds one row per planted pair: kind, record and record as the audit names them.
"""

import argparse
import hashlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUFFIXES = (".txt", ".md", ".rst")
PASSAGE = 1000
"""Characters after which a passage ends, at the next line end or space."""
SHARD_DOCUMENTS = 25_000
TEMPLATE_SHARE = 0.01
EDGES = (0.10, 0.16, 0.19)
"""Shares of the families: near below the first, exact below the second, chain below the third, else untouched."""


def generator(*key: object) -> random.Random:
    """A random generator that hangs on nothing but the key."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def text_files(roots: list[Path]) -> list[Path]:
    """Plain-text files below the roots, in the order of the hash of their path: any first few are a fair sample."""
    found: dict[str, Path] = {}
    for root in roots:
        for path in root.rglob("*"):
            if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink() and path.name != "SOURCES.md":
                found[hashlib.sha256(path.relative_to(root).as_posix().encode()).hexdigest()] = path
    if not found:
        raise SystemExit(f"{', '.join(map(str, roots))}: no files that end in {', '.join(SUFFIXES)}")
    return [found[key] for key in sorted(found)]


def cut(text: str) -> Iterator[str]:
    """Passages of a text; what is left at its end is dropped."""
    held: list[str] = []
    size = 0
    for line in text.splitlines():
        for start in range(0, len(line), PASSAGE) if len(line) > 2 * PASSAGE else (0,):
            piece = line[start : start + PASSAGE] if len(line) > 2 * PASSAGE else line
            held.append(piece)
            size += len(piece) + 1
            if size >= PASSAGE:
                yield "\n".join(held).strip()
                held, size = [], 0


def passages(files: list[Path]) -> Iterator[str]:
    """All passages of all files; then, without end, passages of six pieces of them, chosen by hash."""
    pool: list[str] = []
    for path in files:
        raw = path.read_bytes()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        for passage in cut(text.replace("\0", " ")):
            if len(passage) >= PASSAGE // 2:
                if len(pool) < 200_000:
                    pool.append(passage)
                yield passage
    if not pool:
        raise SystemExit(f"the {len(files)} text files hold no passage of {PASSAGE} characters")
    number = 0
    while True:
        draw = generator("mixed", number)
        pieces = []
        for _ in range(6):
            passage = pool[draw.randrange(len(pool))]
            start = draw.randrange(max(1, len(passage) - PASSAGE // 6))
            pieces.append(passage[start : start + PASSAGE // 6].partition(" ")[2])
        yield " ".join(pieces)
        number += 1


def edit(text: str, jaccard: float, draw: random.Random) -> str:
    """The text with as many of its words replaced, evenly apart, as bring it to this Jaccard of word 5-grams.

    A word replaced takes 5 of S shingles from both sides: J = (S - 5 k) / (S + 5 k).
    """
    parts = re.split(r"(\s+)", text)
    words = [place for place in range(0, len(parts), 2) if parts[place]]
    shingles = len(words) - 4
    count = max(1, round(shingles * (1 - jaccard) / (5 * (1 + jaccard))))
    if shingles < 5:
        return text + " " + _word(draw)
    first = draw.random()
    for number in range(count):
        parts[words[min(int((number + first) * len(words) / count), len(words) - 1)]] = _word(draw)
    return "".join(parts)


def _word(draw: random.Random) -> str:
    return "".join(draw.choice("bdfklmnprst") + draw.choice("aeiou") for _ in range(draw.randrange(2, 5)))


def respelled(text: str, draw: random.Random) -> str:
    """The same words in other case, punctuation or spacing."""
    way = draw.randrange(3)
    return text if way == 0 else text.upper().lower() + " !" if way == 1 else re.sub(r" ", "  ", text)


_FRAME = (
    "From: {name}@{domain}.test\nSubject: Your account statement is ready\n\nDear {name},\n"
    "thank you for being a customer of our bank. Your statement number {number} over {amount} is now ready. You can "
    "look at it, print it or store it at any time when you sign in to your account with your customer number and the "
    "password that you chose when you opened the account. {own}\nIf you think that something in this statement is not "
    "as it should be, then please write to our customer service within thirty days and keep the number of the "
    "statement at hand, so that we can look into the matter at once and answer you as soon as we can. We never ask for "
    "your password in a mail, and you should never send it to anybody, whatever they may tell you about themselves or "
    "about your account. If you did not open an account with us and received this message by mistake, then please "
    "delete it and tell us about it, and we will see to it that it does not happen again. This message was sent by a "
    "machine; answers to this address are not read by anybody. To stop these messages change the settings of your "
    "account, where you can also choose to receive your statements on paper for a small fee each month.\n"
    "Kind regards\nYour customer service\n"
)


def mail(number: int) -> str:
    """One mail of the template."""
    draw = generator("mail", number)
    own = " ".join(_word(draw) for _ in range((0, 0, 14, 90)[draw.randrange(4)]))
    return _FRAME.format(
        name=_word(draw), domain=_word(draw), number=draw.randrange(10**7), amount=draw.randrange(10**4), own=own
    )


def families(source: Iterator[str]) -> Iterator[tuple[str, list[str], list[tuple[int, int]]]]:
    """(kind, texts, planted pairs as indices of the texts), without end."""
    for number, passage in enumerate(source):
        draw = generator("family", number)
        which = draw.random()
        if which < EDGES[0]:
            copies = [edit(passage, draw.uniform(0.5, 0.95), draw) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
            yield "near", [passage, *copies], [(0, place + 1) for place in range(len(copies))]
        elif which < EDGES[1]:
            yield "exact", [passage, respelled(passage, draw)], [(0, 1)]
        elif which < EDGES[2]:
            second = edit(passage, 0.85, draw)
            yield "chain", [passage, second, edit(second, 0.85, draw)], [(0, 1), (1, 2)]
        else:
            yield "alone", [passage], []


def write(output: Path, roots: list[Path], documents: int) -> dict[str, int]:
    """Writes the shards and truth.jsonl; returns documents per kind and the bytes of text."""
    output.mkdir(parents=True)
    shards = -(-documents // SHARD_DOCUMENTS)
    names = [f"corpus-{number:05d}.jsonl" for number in range(shards)]
    lines = [0] * shards
    counts: dict[str, int] = {"bytes": 0}
    files = [(output / "shards" / name) for name in names]
    files[0].parent.mkdir()
    handles = [path.open("w", encoding="utf-8", newline="\n") for path in files]
    with (output / "truth.jsonl").open("w", encoding="utf-8") as truth:

        def put(kind: str, text: str) -> str:
            # Members of a family lie in any shard, at any distance.
            number = sum(lines)
            shard = generator("shard", kind, number).randrange(shards)
            lines[shard] += 1
            handles[shard].write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            counts[kind] = counts.get(kind, 0) + 1
            counts["bytes"] += len(text.encode())
            return f"{names[shard]}#{lines[shard]}"

        mails = int(documents * TEMPLATE_SHARE)
        written = 0
        for kind, texts, pairs in families(passages(text_files(roots))):
            while written < documents and counts.get("template", 0) < mails * written / documents:
                put("template", mail(counts.get("template", 0)))
                written += 1
            if written + len(texts) > documents:
                break
            records = [put(kind, text) for text in texts]
            written += len(texts)
            for i, j in pairs:
                truth.write(json.dumps([kind, records[i], records[j]]) + "\n")
        while written < documents:
            put("template", mail(counts.get("template", 0)))
            written += 1
    for handle in handles:
        handle.close()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--data", type=Path, action="append", help="directory of text files; default samples/")
    arguments = parser.parse_args()
    print(json.dumps(write(arguments.output, arguments.data or [ROOT / "samples"], arguments.documents)))


if __name__ == "__main__":
    main()
