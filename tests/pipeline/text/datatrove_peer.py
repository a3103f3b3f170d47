"""Runs datatrove's own filters, in an interpreter that has datatrove 0.10 and spaCy: tokens, scores and verdicts.

    python datatrove_peer.py TEXTS.jsonl RESULTS.jsonl

TEXTS: one {"text"} per line; RESULTS: one object per line, in the same order:
- tokens: [start, end, start, end, ...] in code points, as its English tokenizer makes and strips them
- scores: statistic -> the number that the filter compares with its limit, taken from the comparison itself
- reasons: filter -> why it drops the text, null where it keeps it, with default limits
- c4: what its C4QualityFilter counts: lines by fate, sentences, and the text that it leaves
"""

import json
import sys

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.word_tokenizers import load_word_tokenizer


class Limit(float):
    """A limit that nothing breaks and that notes what is compared with it."""

    __array_ufunc__ = None
    """numpy's scalars leave the comparison to this class."""

    def __new__(cls, name, scores):
        limit = super().__new__(cls, 1.0)
        limit.name, limit.scores = name, scores
        return limit

    def _note(self, other):
        self.scores[self.name] = float(other)
        return False

    __lt__ = __gt__ = _note
    __hash__ = float.__hash__


class Both(Limit):
    """One limit serves two ratios: first that of hash signs, then that of ellipses."""

    def _note(self, other):
        first = "datatrove_hash_ratio" not in self.scores
        self.scores["datatrove_hash_ratio" if first else "datatrove_ellipsis_ratio"] = float(other)
        return False

    __lt__ = __gt__ = _note
    __hash__ = float.__hash__


def scores_of(text):
    scores = {}

    def limit(name):
        return Limit(f"datatrove_{name}", scores)

    symbols = Both("symbols", scores)
    filters = (
        GopherQualityFilter(
            min_doc_words=limit("words"),
            max_doc_words=limit("words"),
            min_avg_word_length=limit("mean_word_length"),
            max_avg_word_length=limit("mean_word_length"),
            max_symbol_word_ratio=symbols,
            max_bullet_lines_ratio=limit("bullet_lines"),
            max_ellipsis_lines_ratio=limit("ellipsis_lines"),
            max_non_alpha_words_ratio=limit("alphabetic_words"),
            min_stop_words=limit("stop_words"),
        ),
        GopherRepetitionFilter(
            dup_line_frac=limit("duplicate_lines"),
            dup_para_frac=limit("duplicate_paragraphs"),
            dup_line_char_frac=limit("duplicate_line_characters"),
            dup_para_char_frac=limit("duplicate_paragraph_characters"),
            top_n_grams=tuple((n, limit(f"top_{n}gram_characters")) for n in (2, 3, 4)),
            dup_n_grams=tuple((n, limit(f"duplicate_{n}gram_characters")) for n in range(5, 11)),
        ),
        FineWebQualityFilter(
            line_punct_thr=limit("terminal_lines"),
            short_line_thr=limit("short_lines"),
            char_duplicates_ratio=limit("copied_characters"),
            new_line_ratio=limit("newline_ratio"),
        ),
    )
    for one in filters:
        try:
            one.filter(Document(text=text, id="0"))
        except ZeroDivisionError:  # texts without a word
            scores.clear()
            return scores
    return scores


class CountingC4(C4QualityFilter):
    """Notes the counts that the filter keeps for its statistics."""

    def stat_update(self, *names, value=1, unit=None):
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + value


def c4_of(text):
    scores = {}
    counting = CountingC4(min_num_sentences=Limit("sentences", scores), filter_lorem_ipsum=False)
    counting.counts = {}
    counting.filter_curly_bracket = False
    document = Document(text=text, id="0")
    counting.filter(document)
    return {"sentences": scores["sentences"], "text": document.text} | counting.counts


def tokens_of(text, tokenizer):
    spans = []
    with tokenizer.tokenizer.memory_zone():
        for token in tokenizer._do_tokenize(text)[0]:
            stripped = token.text.strip()
            if stripped:
                start = token.idx + token.text.index(stripped)
                spans += [start, start + len(stripped)]
    assert [text[a:b] for a, b in zip(spans[::2], spans[1::2], strict=True)] == tokenizer.word_tokenize(text)
    return spans


def main(texts, results):
    filters = {
        "gopher-quality-datatrove": GopherQualityFilter(),
        "gopher-repetition-datatrove": GopherRepetitionFilter(),
        "fineweb-datatrove": FineWebQualityFilter(),
        "c4-datatrove": C4QualityFilter(),
    }
    tokenizer = load_word_tokenizer("en")
    with open(texts, encoding="utf-8") as rows, open(results, "w", encoding="utf-8") as out:
        for row in rows:
            text = json.loads(row)["text"]
            reasons = {}
            for name, one in filters.items():
                verdict = one.filter(Document(text=text, id="0"))
                reasons[name] = verdict[1] if isinstance(verdict, tuple) else None
            found = {
                "tokens": tokens_of(text, tokenizer),
                "scores": scores_of(text),
                "reasons": reasons,
                "c4": c4_of(text),
            }
            out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
