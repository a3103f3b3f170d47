import json
import subprocess
import sys
import unicodedata
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import LanguageConfig
from pipeline.text.html import extract
from pipeline.text.kernels import language as kernels
from pipeline.text.language import SAMPLE, identify, language
from pipeline.text.language_codes import LANGUAGES
from pipeline.text.language_model import (
    FOLD,
    MIN_LETTERS,
    MIN_LETTERS_DENSE,
    MIN_SCORE,
    Texts,
    excerpts,
    kinds,
    model,
    probabilities,
)
from pipeline.text.language_model import identifier as load
from pipeline.text.script import dominant

identifier = lru_cache(load)

DECLARATIONS = {
    "arb": ("ar", "arabic"),
    "cmn_hans": ("zh", "han"),
    "cmn_hant": ("zh", "han"),
    "deu_1996": ("de", "latin"),
    "eng": ("en", "latin"),
    "fra": ("fr", "latin"),
    "heb": ("he", "hebrew"),
    "hin": ("hi", "devanagari"),
    "jpn": ("ja", "kana"),
    "kor": ("ko", "hangul"),
    "rus": ("ru", "cyrillic"),
    "spa": ("es", "latin"),
    "swh": ("sw", "latin"),
    "tha": ("th", "thai"),
    "vie": ("vi", "latin"),
}

ODD = [
    "",
    "a",
    "\n",
    "😀🎉 👍🏽" * 40,
    "HUMAN RIGHTS ARE FOR EVERYONE, EVERYWHERE, AND AT ALL TIMES OF THE DAY.",
    "ΚΑΛΗΜΕΡΑ ΣΑΣ ΚΑΙ ΚΑΛΗ ΣΑΣ ΗΜΕΡΑ ΣΤΗΝ ΟΔΟΣ",
    unicodedata.normalize("NFD", "Il était une fois une forêt où l'été ne finissait pas, là-bas, très loin."),
    unicodedata.normalize("NFD", "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."),
    "İSTANBUL'DA YAĞMUR YAĞIYOR VE HERKES EVDE OTURUYOR",
    "ǅ ǅ TITLE CASE LETTERS ARE NO UPPER CASE",
    "x" * SAMPLE,
    "ж" * (SAMPLE + 1),
    "日本語のテキスト" * 200 + "English in the middle of it, for a while. " * 50 + "さようなら" * 300,
    "𠀀𠀁 a" * 900,
]


def reference_sample(text, sample=SAMPLE):
    if len(text) <= sample:
        return text
    third = sample // 3
    middle = (len(text) - third) // 2
    return "\n".join((text[:third], text[middle : middle + third], text[-third:]))


def reference_ranks(text):
    """py3langid's own, members of languages added up."""
    scores = {}
    for code, score in identifier().rank(reference_sample(text)):
        name = FOLD.get(code, code)
        scores[name] = scores.get(name, 0.0) + score
    return scores


def reference_scores(text):
    """py3langid's formula in double precision, where its own products are in single."""
    held = identifier()
    data = held._encode(reference_sample(text))
    state, counts = 0, {}
    for byte in data:
        state = held.tk_nextmove[held._rowbase[state] + byte]
        feature = held.tk_output[state]
        if feature >= 0:
            counts[feature] = counts.get(feature, 0) + 1
    scores = np.zeros(len(held.nb_classes))
    if counts:
        scores = np.log1p([*counts.values()]) @ held.nb_ptc[[*counts]].astype(np.float64) + held.nb_pc
    scores = np.exp((scores - scores.max()) / np.sqrt(len(data) or 1))
    folded = {}
    for code, score in zip(held.nb_classes, scores / scores.sum(), strict=True):
        name = FOLD.get(code, code)
        folded[name] = folded.get(name, 0.0) + score
    return folded


def reference_language(text, script):
    excerpt = reference_sample(text)
    letters = sum(map(str.isalpha, excerpt))
    if script == "other" or letters < (MIN_LETTERS_DENSE if script in ("han", "kana", "hangul") else MIN_LETTERS):
        return "und", 0.0
    scores = reference_scores(text)
    best = max(scores, key=lambda name: (scores[name], name))
    return ("und", 0.0) if best == "und" or scores[best] < MIN_SCORE else (best, scores[best])


def ours(*texts):
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(data) for data in encoded])])
    data = np.frombuffer(b"".join(encoded), np.uint8)
    lengths = np.array([len(text) for text in texts])
    return excerpts(Texts(data, offsets[:-1], offsets[1:], lengths), SAMPLE)


@pytest.fixture(scope="session")
def declarations(samples):
    return {name: extract((samples / f"udhr-html/{name}.html").read_text(encoding="utf-8")) for name in DECLARATIONS}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_declarations(declarations, batch_of, name):
    text = declarations[name]
    out = identify(batch_of(text, text[:200])).to_pydict()
    code, script = DECLARATIONS[name]
    assert out["language"] == [code, code]
    assert out["script"][0] == script
    assert out["language_score"][0] > 0.9
    assert all(0 <= score <= 1 for score in out["language_score"])


def test_pieces_of_declarations(declarations, batch_of):
    """Whole texts are easy; of pieces of 100 characters 99 of 100 are right."""
    pieces, truth = [], []
    for name, text in declarations.items():
        cut = [text[start : start + 100] for start in range(0, len(text) - 100, 100)]
        pieces += cut
        truth += [DECLARATIONS[name][0]] * len(cut)
    told = identify(batch_of(*pieces))["language"].to_pylist()
    right = sum(a == b for a, b in zip(told, truth, strict=True))
    assert len(pieces) > 1000
    assert right / len(pieces) >= 0.99


def test_excerpts_are_those_of_the_original(declarations):
    texts = [*declarations.values(), *ODD]
    seen = ours(*texts)
    for row, text in enumerate(texts):
        found = seen.data[seen.offsets[row] : seen.offsets[row + 1]].tobytes()
        assert found == identifier()._encode(reference_sample(text))
        assert seen.letters[row] == sum(map(str.isalpha, reference_sample(text)))


def test_probabilities_are_those_of_the_original(declarations):
    texts = [piece for text in declarations.values() for piece in (text, text[:150], text[500:800], text[90:120])] + ODD
    likely = probabilities(ours(*texts))
    assert likely.shape == (len(texts), len(model().languages))
    for text, row in zip(texts, likely, strict=True):
        exact, original = reference_scores(text), reference_ranks(text)
        assert set(exact) == set(original) == set(model().languages)
        for place, name in enumerate(model().languages):
            assert row[place] == pytest.approx(exact[name], abs=1e-9)
            assert row[place] == pytest.approx(original[name], abs=2e-5)  # sums in single precision
        assert max(original, key=original.__getitem__) == max(exact, key=exact.__getitem__) or text in ODD


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=60) | st.sampled_from(ODD), max_size=9))
@example(["Ȁ" * 1300, "ab", "\u0345\u0399" * 700])
def test_batches_are_the_reference(texts):
    batch = pa.RecordBatch.from_pydict(
        {"text": pa.array(texts, pa.string()), "quarantine": pa.nulls(len(texts), pa.string())}
    )
    out = identify(batch).to_pydict()
    assert out["script"] == [dominant(text) for text in texts]
    for row, text in enumerate(texts):
        code, score = reference_language(text, dominant(text))
        assert out["language"][row] == code
        assert out["language_score"][row] == pytest.approx(score, abs=1e-6)
        assert language(text, dominant(text)) == (out["language"][row], out["language_score"][row])


def test_kinds_follow_python():
    table = kinds()
    for point in [*range(0x3000), *range(0xA600, 0xAC80), *range(0xD7B0, 0xD7FF), *range(0xF900, 0x11800)]:
        character = chr(point)
        kind = int(table[point])
        assert bool(kind & 1) == character.isalpha()
        assert bool(kind & 4) == character.isupper()
        assert bool(kind & 2) == (character.islower() or (character.istitle() and not character.isupper()))
        if not kind & 8:
            for before in "aஒᄀ":
                assert unicodedata.is_normalized("NFC", before + character)


def test_slices_and_long_documents(batch_of):
    text = "Es war einmal ein König, der hatte drei Söhne und keine Tochter. "
    long = text * (10_000_000 // len(text))
    batch = batch_of("A first text, which is cut off from the batch again.", long, None, text)
    whole = identify(batch).to_pydict()
    assert whole["language"][1:] == ["de", None, "de"]
    sliced = identify(batch.slice(1)).to_pydict()
    assert sliced == {name: values[1:] for name, values in whole.items()}


@pytest.mark.parametrize("text", ["", " \n", "Hello", "1234 5678 " * 50, "!?" * 100, "你好", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎠᏂᏴᏫᏯ " * 5])
def test_too_little_text_tells_no_language(text):
    assert language(text, dominant(text)) == ("und", 0.0)


def test_quarantined_rows_are_null(batch_of):
    batch = batch_of(None, "The cat sat on the mat and looked at the moon.")
    out = identify(batch, LanguageConfig(keep=("de",))).to_pydict()
    assert out["language"] == [None, "en"]
    assert out["script"] == [None, "latin"]
    added = [name for name in out if name.startswith("language")]
    assert len(added) == 6
    assert all(out[name][0] is None for name in added)


def test_empty_batch(batch_of):
    assert identify(batch_of()).num_rows == 0


def test_foreign_preface_does_not_decide():
    preface = "This book was digitised by volunteers and may be read by anyone, anywhere, at no cost. " * 4
    body = "Il était une fois une petite fille de village, la plus jolie qu'on eût su voir. " * 100
    assert language(preface + body, "latin")[0] == "fr"


def test_codes_are_those_of_the_model():
    assert set(LANGUAGES) == set(model().languages)
    assert len(LANGUAGES) == len(set(LANGUAGES))


def test_other_processes_tell_the_same(declarations, batch_of):
    texts = [text[:700] for text in declarations.values()]
    script = (
        "import json, sys, pyarrow as pa; from pipeline.text.language import identify; texts = json.load(sys.stdin);"
        "out = identify(pa.RecordBatch.from_pydict({'text': texts, 'quarantine': pa.nulls(len(texts), pa.string())}));"
        "print(json.dumps([out['language'].to_pylist(), out['language_score'].to_pylist()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    here = identify(batch_of(*texts))
    assert json.loads(done.stdout) == [here["language"].to_pylist(), here["language_score"].to_pylist()]


@pytest.mark.parametrize("longer", [0, 1, 2, 3])
def test_excerpts_of_texts_about_as_long_as_the_sample_fit(monkeypatch, longer):
    # In Python the kernel looks at its bounds; compiled it wrote behind the end of its buffer.
    monkeypatch.setattr(kernels, "excerpts", kernels.excerpts.py_func)
    texts = ["a" * (SAMPLE + longer)] * 3
    found = ours(*texts)
    third = SAMPLE // 3
    wanted = texts[0] if longer == 0 else "\n".join(["a" * third] * 3)
    assert found.data[: found.offsets[-1]].tobytes().decode() == wanted * 3
