"""py3langid's model, which lies inside its package, run over a batch by the kernels."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from pipeline.text.kernels import language as kernels
from pipeline.text.language_codes import UNDETERMINED
from pipeline.text.script import ALPHA, SCRIPTS, flags

FOLD = {"yue": "zh", "wuu": "zh", "arz": "ar", "ary": "ar", "uzs": "uz", "hbo": "he", "zxx": UNDETERMINED}
"""Members of macrolanguages that have a two-letter code. "zxx" means: no language at all (numbers, code)."""

_SCALE = 512

MIN_LETTERS = 20
"""Fewer letters in the sample than this tell no language ..."""
MIN_LETTERS_DENSE = 8
"""... or this, where a letter is a syllable or a word (han, kana, hangul)."""
MIN_SCORE = 0.1
"""The best of a hundred languages has less only where the model knows nothing of the text: code, names."""
DECIMALS = 6
"""Scores are rounded, so that another processor's last digit does not change the output."""

_DENSE = np.array([SCRIPTS.index(name) for name in ("han", "kana", "hangul")])
_OTHER = SCRIPTS.index("other")


def identifier() -> LanguageIdentifier:
    """The original, restricted to what ISO 639-1 can name. Loading takes 0.3 s, and keeping it 80 MB."""
    loaded = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    loaded.set_languages([code for code in loaded.labels if len(code) == 2 or code in FOLD])
    return loaded


@dataclass(frozen=True)
class Model:
    """What the kernels `walk` and `scores` take, and the names of the classes."""

    languages: tuple[str, ...]
    """Names of the columns of `probabilities`, the last of the alphabet first, so that it wins among equals."""
    columns: np.ndarray
    """int64 [classes]: the language of each class."""
    moves: np.ndarray
    states: np.ndarray
    weights: np.ndarray
    priors: np.ndarray


def _aligned(rows: int) -> np.ndarray:
    """Zeros, int16 [rows, CLASSES]; no row crosses a cache line more than it must."""
    size = rows * kernels.CLASSES * 2
    raw = np.zeros(size + 63, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(np.int16).reshape(rows, kernels.CLASSES)


@lru_cache(maxsize=1)
def model() -> Model:
    """One per process. Raises RuntimeError where the installed model does not fit the kernels exactly."""
    loaded = identifier()
    names = [FOLD.get(code, code) for code in loaded.nb_classes]
    scaled = loaded.nb_ptc.astype(np.float32) * np.float32(_SCALE)
    if len(names) > kernels.CLASSES or np.abs(scaled).max() > 8191 or (scaled != np.rint(scaled)).any():
        raise RuntimeError(
            f"py3langid: the model of the installed version has more than {kernels.CLASSES} languages, or weights that "
            "are no multiples of 1/512 below 16; install the version that this project pins"
        )
    weights = _aligned(len(scaled) + 1)
    weights[:-1, : len(names)] = scaled
    languages = tuple(sorted(set(names), reverse=True))
    moves = np.frombuffer(loaded.tk_nextmove, np.dtype(f"u{loaded.tk_nextmove.itemsize}"))
    rows, features = np.asarray(loaded.tk_row, np.int64), np.asarray(loaded.tk_output, np.int64)
    return Model(
        languages=languages,
        columns=np.array([languages.index(name) for name in names]),
        moves=moves.astype(np.uint32, copy=False),
        states=rows << 32 | features + 1,
        weights=weights,
        priors=loaded.nb_pc.astype(np.float64),
    )


@lru_cache(maxsize=1)
def kinds() -> np.ndarray:
    """Bits of every code point, uint8 [0x110000]; see `pipeline.text.kernels.language`."""
    table = ((flags() & ALPHA) != 0).astype(np.uint8) * np.uint8(kernels.LETTER)
    # Neither case nor composition beyond plane 2.
    for point in range(0x30000):
        character = chr(point)
        if character.isupper():
            table[point] |= kernels.UPPER
        elif character.islower() or character.istitle():
            table[point] |= kernels.LOWER
        if unicodedata.combining(character):
            table[point] |= kernels.UNSTABLE
        parts = unicodedata.decomposition(character)
        if parts and parts[0] != "<":
            # What decomposes for good, and what may compose with what stands before it.
            if unicodedata.normalize("NFC", character) != character:
                table[point] |= kernels.UNSTABLE
            _, _, second = parts.partition(" ")
            if second:
                table[int(second, 16)] |= kernels.UNSTABLE
    table[0x1160:0x1200] |= kernels.UNSTABLE  # Vowels and finals of Hangul compose by rule.
    table.setflags(write=False)
    return table


@dataclass(frozen=True)
class Texts:
    """Places of texts in UTF-8 bytes: [firsts[t], ends[t]), of lengths[t] code points; all int64 [texts]."""

    data: np.ndarray
    firsts: np.ndarray
    ends: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Excerpts:
    """UTF-8 bytes of what the model sees of each text: uint8 and int64 [texts + 1]; letters: int64 [texts]."""

    data: np.ndarray
    offsets: np.ndarray
    letters: np.ndarray


def excerpts(texts: Texts, sample: int) -> Excerpts:
    """At most `sample` code points of each text, as the model wants them: NFC, and lower case where all is upper."""
    rows = len(texts.lengths)
    # Two line feeds join the thirds: the excerpt of a text just longer than the sample is longer than the text.
    room = int((np.minimum(texts.ends - texts.firsts, 4 * sample) + 2).sum())
    out, offsets = np.empty(room, np.uint8), np.empty(rows + 1, np.int64)
    facts = np.empty((rows, kernels.FACTS), np.int64)
    kernels.excerpts(texts.data, texts.firsts, texts.ends, texts.lengths, sample, kinds(), out, offsets, facts)
    parts, done, sizes = [], 0, np.diff(offsets)
    for row in np.flatnonzero(facts[:, kernels.MARKED]):
        first, end = int(offsets[row]), int(offsets[row + 1])
        raw = out[first:end].tobytes()
        text = raw.decode()
        changed = unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode()
        if changed != raw:
            parts += [out[done:first], np.frombuffer(changed, np.uint8)]
            done = end
            sizes[row] = len(changed)
    if parts:
        out = np.concatenate([*parts, out[done:]])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Excerpts(out, offsets, facts[:, kernels.LETTERS])


def probabilities(seen: Excerpts) -> np.ndarray:
    """float64 [texts, len(model().languages)]: py3langid's normalised probabilities, members of languages added up."""
    held, texts, sizes = model(), len(seen.letters), np.diff(seen.offsets)
    logs = np.log1p(np.arange(int(sizes.max(initial=kernels.SUMMED)) + 1, dtype=np.float64)) / _SCALE
    features = np.empty(len(seen.data), np.int32)
    kernels.walk(seen.data, seen.offsets, held.moves, held.states, features)
    scores = np.empty((texts, len(held.priors)))
    kernels.scores(features, seen.offsets, held.weights, held.priors, logs, scores)
    # The root of the bytes keeps the softmax calibrated across lengths.
    scores /= np.sqrt(np.maximum(sizes, 1))[:, None]
    np.exp(scores - scores.max(axis=1, keepdims=True), out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    merged = np.zeros((texts, len(held.languages)))
    for place, column in enumerate(held.columns):
        merged[:, column] += scores[:, place]
    return merged


def tell(seen: Excerpts, script: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For excerpts of texts in these scripts (int64 [texts], of SCRIPTS): the language (int64 [texts], a column of
    `probabilities`; -1 where none is told), its score (float64 [texts], 0 where none is told) and `probabilities`."""
    likely = probabilities(seen)
    best = likely.argmax(axis=1)
    score = np.minimum(likely[np.arange(len(best)), best], 1.0).round(DECIMALS)
    least = np.where(np.isin(script, _DENSE), MIN_LETTERS_DENSE, MIN_LETTERS)
    # The model knows no language of the other scripts, and still finds one: Cherokee is Korean to it.
    nothing = (script == _OTHER) | (seen.letters < least) | (score < MIN_SCORE)
    nothing |= best == model().languages.index(UNDETERMINED)
    return np.where(nothing, -1, best), np.where(nothing, 0.0, score), likely
