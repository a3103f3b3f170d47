"""Language by py3langid (its model is inside the package) and script by counting letters."""

from functools import lru_cache

import pyarrow as pa
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from pipeline.records import with_columns
from pipeline.text.script import dominant

UNDETERMINED = "und"
SAMPLE = 1200
"""Code points that the identifier sees: its Python loop runs at about 5 MB/s."""
MIN_LETTERS = 20
"""Fewer letters in the sample than this tell no language ..."""
MIN_LETTERS_DENSE = 8
"""... or this, where a letter is a syllable or a word (han, kana, hangul)."""
MIN_SCORE = 0.1
"""The best of a hundred languages has less only where the identifier knows nothing of the text: code, names."""

_DENSE = ("han", "kana", "hangul")
# Members of macrolanguages that have a two-letter code. "zxx" means: no language at all (numbers, code).
_FOLD = {"yue": "zh", "wuu": "zh", "arz": "ar", "ary": "ar", "uzs": "uz", "hbo": "he", "zxx": UNDETERMINED}


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    """One per process: loading takes 0.3 s. Restricted to what ISO 639-1 can name."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in identifier.labels if len(code) == 2 or code in _FOLD])
    return identifier


def sample(text: str) -> str:
    """Short text whole; of long text the beginning, middle and end, so that a foreign preface does not decide."""
    if len(text) <= SAMPLE:
        return text
    third = SAMPLE // 3
    middle = (len(text) - third) // 2
    return "\n".join((text[:third], text[middle : middle + third], text[-third:]))


def language(text: str, script: str) -> tuple[str, float]:
    """ISO 639-1 code and its normalised probability; ("und", 0.0) where no language is told."""
    excerpt = sample(text)
    letters = sum(map(str.isalpha, excerpt))
    # The identifier knows no language of these scripts, and still finds one: Cherokee is Korean to it.
    if script == "other" or letters < (MIN_LETTERS_DENSE if script in _DENSE else MIN_LETTERS):
        return UNDETERMINED, 0.0
    scores: dict[str, float] = {}
    for code, score in _identifier().rank(excerpt):
        name = _FOLD.get(code, code)
        scores[name] = scores.get(name, 0.0) + score
    best = max(scores, key=lambda name: (scores[name], name))
    if best == UNDETERMINED or scores[best] < MIN_SCORE:
        return UNDETERMINED, 0.0
    return best, min(1.0, scores[best])


def identify(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Adds `language`, `language_score` (0..1) and `script` (see pipeline.text.script); null in quarantined rows."""
    languages: list[str | None] = []
    scores: list[float | None] = []
    scripts: list[str | None] = []
    sound = batch.column("quarantine").is_null().to_pylist()
    for text, good in zip(batch.column("text").to_pylist(), sound, strict=True):
        script = dominant(text) if good else None
        code, score = language(text, script) if script is not None else (None, None)
        languages.append(code)
        scores.append(score)
        scripts.append(script)
    return with_columns(
        batch,
        {
            "language": pa.array(languages, pa.string()),
            "language_score": pa.array(scores, pa.float64()),
            "script": pa.array(scripts, pa.string()),
        },
    )
