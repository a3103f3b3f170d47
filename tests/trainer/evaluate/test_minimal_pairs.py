"""Minimal pairs: ties, file formats, and batched scores against one forward at a time."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import CLS, MASK, SEP
from trainer.evaluate.minimal_pairs import (
    Pair,
    PairsError,
    Paradigm,
    ParadigmScore,
    choose,
    detokenise,
    mean_accuracy,
    read_pairs,
    score_paradigm,
)
from trainer.evaluate.scoring import masked_copies, score
from trainer.evaluate.words import Unit
from trainer.model.config import ModelConfig
from trainer.tasks.masked_lm import MaskedLM

CONFIG = ModelConfig(vocabulary_size=40, layers=2, width=16, heads=2, feed_forward=32, max_length=24)


@pytest.fixture(scope="module")
def model() -> MaskedLM:
    torch.manual_seed(0)
    return MaskedLM(CONFIG.model_copy(update={"init_std": 0.3})).eval()


def pairs(count: int) -> list[Pair]:
    return [Pair(f"good {k}", f"bad {k}") for k in range(count)]


def test_a_constant_scorer_gets_exactly_one_half() -> None:
    for count in (1, 7, 1001):
        found = score_paradigm(Paradigm("p", pairs(count)), lambda sentences: [-3.5] * len(sentences))
        assert (found.pairs, found.correct, found.ties) == (count, 0, count)
        assert found.accuracy == 0.5
    assert mean_accuracy([found, found]) == 0.5


def test_noise_of_fp32_is_a_tie_and_the_order_of_the_pair_does_not_matter() -> None:
    noisy = score_paradigm(Paradigm("p", pairs(10)), lambda s: [-20 + 1e-6 * k for k in range(len(s))])
    assert noisy.ties == 10
    wins = score_paradigm(Paradigm("p", pairs(10)), lambda s: [-1.0 if x.startswith("good") else -2.0 for x in s])
    losses = score_paradigm(Paradigm("p", pairs(10)), lambda s: [-2.0 if x.startswith("good") else -1.0 for x in s])
    assert (wins.accuracy, losses.accuracy) == (1.0, 0.0)


def test_every_paradigm_weighs_the_same() -> None:
    assert mean_accuracy([ParadigmScore("a", 1, 1, 0), ParadigmScore("b", 100, 0, 0)]) == 0.5


def test_copies_mask_a_word_from_left_to_right() -> None:
    ids = [10, 11, 12, 13]
    queries = masked_copies(ids, [Unit(0, 1, ""), Unit(1, 4, "word")])
    assert [list(query.row) for query in queries] == [
        [CLS, MASK, 11, 12, 13, SEP],
        [CLS, 10, MASK, MASK, MASK, SEP],
        [CLS, 10, 11, MASK, MASK, SEP],
        [CLS, 10, 11, 12, MASK, SEP],
    ]
    assert [(query.position, query.target) for query in queries] == [(1, 10), (2, 11), (3, 12), (4, 13)]


@pytest.mark.parametrize("batch_tokens", [1, 50, 8192])
def test_batches_score_as_single_rows_do(model: MaskedLM, batch_tokens: int) -> None:
    generator = torch.Generator().manual_seed(1)
    queries = []
    for length in (1, 5, 9, 5, 3, 5):
        ids = torch.randint(7, 40, (length,), generator=generator).tolist()
        queries += masked_copies(ids, [Unit(0, (length + 1) // 2, "w"), *(Unit(k, k + 1, "") for k in range(length))])
    found = score(model, queries, batch_tokens)
    for query, log, rank in zip(queries, found.log_probability, found.rank, strict=True):
        row = torch.tensor([query.row])
        with torch.no_grad():
            logits = model.logits(
                row, torch.ones_like(row), torch.arange(row.shape[1])[None], torch.tensor([query.position])
            )[0]
        assert log == pytest.approx(float(logits.double().log_softmax(0)[query.target]), abs=1e-5)
        assert rank == int((logits[6:] > logits[query.target]).sum())
    sizes = [3, len(queries) - 3]
    assert found.sums(sizes).tolist() == pytest.approx(
        [found.log_probability[:3].sum(), found.log_probability[3:].sum()]
    )


def test_equal_questions_have_equal_answers(model: MaskedLM) -> None:
    queries = masked_copies([8, 9, 10], [Unit(0, 3, "w")])
    found = score(model, [*queries, *masked_copies([8, 9], [Unit(0, 2, "w")]), *queries])
    assert found.log_probability[:3].tolist() == found.log_probability[-3:].tolist()


def test_zorro_has_the_bad_sentence_first(tmp_path: Path) -> None:
    (tmp_path / "irregular-verb.txt").write_text("He chosen it .\nHe chose it .\nA b ?\nC d ?\n")
    (found,) = read_pairs(tmp_path)
    assert found == Paradigm("irregular-verb", [Pair("He chose it.", "He chosen it."), Pair("C d?", "A b?")])


def test_blimp_and_zorro_in_one_directory(tmp_path: Path) -> None:
    rows = [
        {"sentence_good": "g", "sentence_bad": "b", "UID": "u2"},
        {"sentence_good": "h", "sentence_bad": "c", "UID": "u1"},
        {"sentence_good": "i", "sentence_bad": "d"},
    ]
    (tmp_path / "blimp.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    (tmp_path / "zorro.txt").write_text("x\ny\n")
    assert [(p.name, len(p.pairs)) for p in read_pairs(tmp_path)] == [("blimp", 1), ("u1", 1), ("u2", 1), ("zorro", 1)]
    assert read_pairs(tmp_path / "zorro.txt") == [Paradigm("zorro", [Pair("y", "x")])]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "one\ntwo\nthree\n", "a.txt: 3 lines; bad and good"),
        ("a.txt", "one\n\ntwo\nthree\n", "a.txt: line 2 is empty"),
        ("a.txt", "\n", "a.txt: holds no pair"),
        (
            "a.jsonl",
            '{"sentence_good": "g", "sentence_bad": "b"}\n{"sentence_good": "g"}\n',
            "a.jsonl: line 2: no pair",
        ),
        ("a.jsonl", '{"sentence_good": 5, "sentence_bad": "b"}\n', "a.jsonl: line 1: no pair"),
        ("a.jsonl", "[1]\n", "a.jsonl: line 1: no pair"),
        ("a.jsonl", "not JSON\n", "a.jsonl: line 1: no pair"),
        ("a.csv", "x", "holds no .txt or .jsonl"),
    ],
)
def test_bad_files_are_told_with_their_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PairsError, match=message):
        read_pairs(tmp_path)


@settings(deadline=None)
@given(st.permutations(range(30)), st.integers(1, 30))
def test_the_same_pairs_are_chosen_wherever_they_stand(places: list[int], limit: int) -> None:
    shuffled = [pairs(30)[k] for k in places]
    assert set(choose(shuffled, limit)) == set(choose(pairs(30), limit))
    assert [pair for pair in shuffled if pair in choose(shuffled, limit)] == choose(shuffled, limit)
    assert len(choose(shuffled, limit)) == limit


def test_detokenise() -> None:
    assert detokenise("it 's fine , he did n't go .") == "it's fine, he didn't go."
    assert detokenise("what a .5 percent ?") == "what a .5 percent?"
    assert detokenise("a ' quote ' here .") == "a ' quote ' here."
