"""Notes on the fly: the average's rule, windows, what enters the input, no leak, the warm start."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import CLS, FIRST_ORDINARY, MASK, SEP
from trainer.config import build_config
from trainer.data.batch import Batch, PlanRows, RowRange, collate
from trainer.data.masking import Masking
from trainer.data.rare import NoteWindow, RareWords
from trainer.data.shards import Corpus, CorpusError
from trainer.data.stream import packer
from trainer.loop import Trainer
from trainer.model.config import ModelConfig
from trainer.model.note_config import NoteConfig
from trainer.model.notes import NoteTable, window_means
from trainer.notes import NoteTaker, average_in, set_notes, start_notes
from trainer.sections.notes import NotesSection
from trainer.tasks.masked_lm import MaskedLM
from trainer.warm_notes import ROWS, fill_notes, read_windows

V, T, WORDS = 300, 24, 12
ALL_MASKED = Masking(0.4, 1.0, 0.0)


def texts(count=40, seed=0):
    """Documents, and their rare words: word w is always the pieces 250 + 2 w, 251 + 2 w."""
    draw = np.random.default_rng(seed)
    documents, rare = [], []
    for _ in range(count):
        document, spans = [], []
        for _ in range(int(draw.integers(2, 7))):
            document += draw.integers(6, 250, int(draw.integers(1, 7))).tolist()
            word = int(draw.integers(0, WORDS))
            spans.append((len(document), len(document) + 2, word))
            document += [250 + 2 * word, 251 + 2 * word]
        documents.append(document)
        rare.append(spans)
    return documents, rare


def rows(place, make_corpus, documents, rare, masking, half_window=3):
    corpus = Corpus(make_corpus(place, documents, V, rare=rare, shards=1))
    plan = packer(corpus, 0, T).plan(0, 0)
    return collate(corpus, [PlanRows(plan, 0, plan.rows)], masking, NoteWindow(WORDS, half_window))


@pytest.fixture(scope="module")
def batch(tmp_path_factory, make_corpus) -> Batch:
    return rows(tmp_path_factory.mktemp("notes"), make_corpus, *texts(), Masking())


def make_model(seed=0, **notes) -> MaskedLM:
    fields = {"layers": 1, "width": 16, "heads": 2, "feed_forward": 32, "max_length": T, "vocabulary_size": V}
    torch.manual_seed(seed)
    model = notes.pop("model", {})
    config = NoteConfig.model_validate({"words": WORDS, **notes})
    return MaskedLM(ModelConfig.model_validate({**fields, **model, "notes": config}))


def fill(model, seed=1):
    notes = model.encoder.notes
    notes.table_WD.normal_(generator=torch.Generator().manual_seed(seed))
    notes.taken_W.fill_(3)
    return notes


# The average.


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.integers(0, 6), max_size=30),
    gamma=st.floats(0.01, 1.0),
    filled_only=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_n_occurrences_are_n_steps_of_the_average_with_their_mean(words, gamma, filled_only, seed):
    draw = torch.Generator().manual_seed(seed)
    notes = NoteTable(NoteConfig(words=7, filled_only=filled_only), 5)
    notes.table_WD.normal_(generator=draw)
    notes.taken_W.copy_(torch.tensor([0, 1, 2, 0, 5, 0, 1]))
    notes_ND = torch.randn(len(words), 5, generator=draw)
    expected, taken = notes.table_WD.double().clone(), notes.taken_W.clone()
    for word in set(words):
        here = [k for k, w in enumerate(words) if w == word]
        mean = notes_ND[here].double().mean(0)
        for n in range(len(here)):
            first = filled_only and not notes.taken_W[word] and n == 0
            expected[word] = mean if first else (1 - gamma) * expected[word] + gamma * mean
        taken[word] += len(here)
    average_in(notes, torch.tensor(words, dtype=torch.int64), notes_ND, gamma)
    assert torch.allclose(notes.table_WD.double(), expected, atol=1e-5)
    assert torch.equal(notes.taken_W, taken)


def test_the_order_of_micro_batches_rows_and_processes_changes_no_bit(batch):
    """One batch, or its two halves as micro-batches."""
    notes_ND = torch.randn(len(batch.words.word_N), 16, generator=torch.Generator().manual_seed(0))
    half = len(batch.tokens_BT) // 2
    tables = []
    for parts in ([(0, 2 * half)], [(0, half), (half, 2 * half)]):
        notes, taken = NoteTable(NoteConfig(words=WORDS), 16), []
        for first, last in parts:
            here = (batch.words.row_N >= first) & (batch.words.row_N < last)
            columns = {n: getattr(batch.words, n)[here] for n in ("word_N", "row_N", "start_N", "end_N", "bag_N")}
            words = replace(batch.words, **{**columns, "row_N": columns["row_N"] - first})
            taken.append((replace(batch, tokens_BT=batch.tokens_BT[first:last], words=words), notes_ND[here]))
        taker = NoteTaker(notes, 0.1)
        taker.update(taken)
        taker.update(taken)
        tables.append(notes.table_WD)
    assert torch.equal(*tables)
    assert tables[0].abs().sum() > 0


def test_windows_are_true_means_inside_the_document(batch):
    h_BTD = torch.randn(*batch.tokens_BT.shape, 5, dtype=torch.float64)
    found = window_means(h_BTD.requires_grad_(), batch.words)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    words = batch.words
    for n in range(len(words.word_N)):
        row, start, end = int(words.row_N[n]), int(words.start_N[n]), int(words.end_N[n])
        segments, tokens = batch.segments_BT[row], batch.tokens_BT[row]
        around = range(max(start - 3, 0), min(end + 3, T))
        inside = [k for k in around if segments[k] == segments[start] and tokens[k] not in (CLS, SEP)]
        assert torch.allclose(found[n].double(), h_BTD[row, inside].mean(0), atol=1e-5)


# What enters the input.


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("scale", ["none", "input"])
def test_the_mixture_and_its_gradient(batch, norm, place, scale):
    """Against plain loops in fp64: the input, and the gradient that reaches the embeddings."""
    model = make_model(share=0.3, place=place, scale=scale, model={"norm": norm, "positions": "absolute"}).double()
    encoder, notes = model.encoder, fill(model)
    notes.taken_W[3] = 0
    found = encoder.embed(batch.tokens_BT, batch.positions_BT, batch.words)

    word = dict(zip(batch.words.token_P.tolist(), batch.words.word_P.tolist(), strict=True))
    weight = encoder.token_embedding.weight.detach().clone().requires_grad_()
    x = weight[batch.tokens_BT] + encoder.positions.added(batch.positions_BT)

    def mixed(x_BTD):
        out = []
        for k, x_D in enumerate(x_BTD.flatten(0, 1)):
            if k in word and word[k] != 3:
                note = notes.table_WD[word[k]]
                factor = x_D.detach().norm() / note.norm() if scale == "input" else 1.0
                x_D = 0.7 * x_D + 0.3 * factor * note
            out.append(x_D)
        return torch.stack(out).view_as(x_BTD)

    expected = encoder.embedding_norm(mixed(x)) if place == "before" else mixed(encoder.embedding_norm(x))
    assert torch.allclose(found, expected, atol=1e-12)
    target = torch.randn(found.shape, dtype=torch.float64)
    (found * target).sum().backward()
    (expected * target).sum().backward()
    rows_of_pieces = slice(1, None)  # the padding row has no gradient
    ours, theirs = encoder.token_embedding.weight.grad, weight.grad
    assert torch.allclose(ours[rows_of_pieces], theirs[rows_of_pieces], atol=1e-10)


def test_other_tokens_keep_their_bits(batch):
    model = make_model()
    fill(model)
    model.encoder.notes.taken_W[:6] = 0
    plain = model.encoder.embed(batch.tokens_BT, batch.positions_BT).flatten(0, 1)
    found = model.encoder.embed(batch.tokens_BT, batch.positions_BT, batch.words).flatten(0, 1)
    noted = torch.zeros(len(plain), dtype=torch.bool)
    noted[batch.words.token_P[batch.words.word_P >= 6]] = True
    assert torch.equal(plain[~noted], found[~noted])
    assert (plain[noted] != found[noted]).any(1).all()


# No leak.


def test_the_hidden_word_does_not_reach_the_input(tmp_path, make_corpus):
    """The word under a [MASK] is exchanged for another one, in the text and in the list of rare words: nothing that
    the model sees may change."""
    documents, rare = texts()
    before = rows(tmp_path / "a", make_corpus, documents, rare, ALL_MASKED)
    # One of its pieces masked is enough to hide a word; here those are exchanged of which both are.
    corpus = Corpus(tmp_path / "a")
    plan = packer(corpus, 0, T).plan(0, 0)
    hidden = set(before.target_index_M.tolist())
    changed = 0
    for row in range(plan.rows):
        at = 1
        for p in range(plan.first_piece[row], plan.first_piece[row + 1]):
            document, first, length = (int(x[p]) for x in (plan.document, plan.offset, plan.length))
            for k, (start, end, word) in enumerate(rare[document]):
                whole = first <= start and end <= first + length
                if whole and {row * T + at + j - first for j in range(start, end)} <= hidden:
                    other = (word + 5) % WORDS
                    rare[document][k] = (start, end, other)
                    documents[document][start:end] = [250 + 2 * other, 251 + 2 * other]
                    changed += 1
            at += length + 2
    assert changed > 5
    after = rows(tmp_path / "b", make_corpus, documents, rare, ALL_MASKED)
    assert not torch.equal(before.target_M, after.target_M)
    assert torch.equal(before.tokens_BT, after.tokens_BT)
    for name in RareWords.__dataclass_fields__:
        assert torch.equal(getattr(before.words, name), getattr(after.words, name)), name
    model = make_model(filled_only=False)
    fill(model)
    inputs = [model.encoder.embed(b.tokens_BT, b.positions_BT, b.words) for b in (before, after)]
    assert torch.equal(*inputs)


def riddle(seed, leaking: bool) -> Batch:
    """One rare word a row, drawn anew, behind a fixed context, with its one piece masked: only its note could tell
    it. `leaking`: the word is looked up all the same."""
    draw = torch.Generator().manual_seed(seed)
    count = 32
    word = torch.randint(0, WORDS, (count,), generator=draw)
    tokens = torch.tensor([CLS, 10, 11, MASK, 12, SEP]).repeat(count, 1)
    row = torch.arange(count) if leaking else torch.empty(0, dtype=torch.int64)
    shown = word[row]
    window = (row[:, None] * 6 + torch.arange(1, 5)).flatten()
    bags = torch.arange(len(row)) * 4
    at = torch.full_like(row, 3)
    words = RareWords(shown, row, at, at + 1, row * 6 + 3, shown, window, bags)
    return Batch(
        tokens_BT=tokens,
        segments_BT=torch.ones_like(tokens),
        positions_BT=torch.arange(6).repeat(count, 1),
        target_index_M=torch.arange(count) * 6 + 3,
        target_M=FIRST_ORDINARY + word,
        source=(RowRange(0, 0, 0, count),),
        token_count=count * 6,
        words=words,
    )


@pytest.mark.parametrize("leaking", [False, True])
def test_a_model_that_could_cheat_does_not_learn_to(leaking):
    """Every word has a note of its own from the start. Where masked words are looked up the riddle is soon solved, so
    the test can fail; where they are not, no loss is below the entropy of the draw."""
    model = make_model(filled_only=False, model={"dropout": 0.0})
    section = NotesSection(enabled=True, start="random", start_std=1.0)
    start_notes(model.encoder.notes, section, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    losses = []
    for step in range(60):
        loss = model(riddle(step, leaking)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    last = sum(losses[-10:]) / 10
    if leaking:
        assert last < 0.5
    else:
        # Ten batches of 32 targets: about 0.05 of noise.
        assert math.log(WORDS) - 0.1 < last < math.log(WORDS) + 0.3


# The warm start.


def context(word, around):
    """A window of `around` tokens on each side of word `word`."""
    side = [20 + word] * around
    return [*side, 250 + 2 * word, 251 + 2 * word, *side], around, around + 2


@pytest.fixture
def noted(tmp_path, make_corpus):
    """Word w has w windows; those of the last words are longer than a row."""
    contexts = [[context(w, 2 + k + 3 * (w > 9)) for k in range(w)] for w in range(WORDS)]
    return Corpus(make_corpus(tmp_path, [[6, 7, 8]], V, contexts=contexts))


def test_windows_are_cut_around_their_words(noted):
    section = NotesSection(start="warm", warm_windows=2, half_window=3)
    windows = read_windows(noted, section, max_length=T)
    assert windows.word.tolist() == [1, *(w for w in range(2, WORDS) for _ in range(2))]
    lengths = np.diff(windows.offset)
    assert lengths.tolist() == [min(2 + k + 3 * (w > 9), 3) * 2 + 2 for w in range(WORDS) for k in range(min(w, 2))]
    for k, word in enumerate(windows.word):
        tokens = windows.tokens[windows.offset[k] : windows.offset[k + 1]].tolist()
        side = (len(tokens) - 2) // 2
        assert tokens[side : side + 2] == [250 + 2 * word, 251 + 2 * word]
    short = read_windows(noted, section, max_length=6)
    assert set(np.diff(short.offset).tolist()) == {4}
    assert len(read_windows(noted, section, max_length=3)) == 0


def test_filling_is_the_mean_over_windows(noted):
    """Against one window at a time, through the encoder alone; words without windows keep what they have."""
    model = make_model()
    notes = fill(model)
    before = notes.table_WD.clone()
    config = build_config(overrides=["notes.enabled=true", 'notes.start="warm"', "system.precision=fp32"])
    trainer = Trainer(model, config, torch.device("cpu"), "fp32")
    section = NotesSection(start="warm", half_window=4, warm_windows=8)
    told = []
    fill_notes(trainer, read_windows(noted, section, T), told.append)
    assert "11 words filled from" in told[0]
    assert model.training
    assert torch.equal(notes.table_WD[0], before[0])
    assert int(notes.taken_W[0]) == 3
    for word in range(1, WORDS):
        seen = []
        for k in range(min(word, 8)):
            side = min(2 + k + 3 * (word > 9), 4)
            tokens = torch.tensor([[CLS, *context(word, side)[0], SEP]])
            with torch.no_grad():
                h = model.encoder(tokens, torch.ones_like(tokens), torch.arange(tokens.shape[1])[None])
            seen.append(h[0, 1:-1].mean(0))
        assert torch.allclose(notes.table_WD[word], torch.stack(seen).mean(0), atol=1e-5)
        assert int(notes.taken_W[word]) == len(seen)


def test_batches_of_windows_hold_whole_words():
    from trainer.warm_notes import Windows

    word = np.repeat(np.arange(40), 7)
    windows = Windows(np.zeros(280, np.uint16), np.arange(281), word)
    runs = windows.batches()
    assert [a for a, _ in runs[1:]] == [b for _, b in runs[:-1]]
    assert runs[0][0] == 0
    assert runs[-1][1] == 280
    assert all(b - a <= ROWS and a % 7 == 0 for a, b in runs)
    assert Windows(np.zeros(0, np.uint16), np.zeros(1, np.int64), word[:0]).batches() == []


def test_a_damaged_window_is_told(tmp_path, make_corpus):
    corpus = Corpus(make_corpus(tmp_path, [[6, 7, 8]], V, contexts=[[([20, 21], 1, 5)]] * 2))
    with pytest.raises(CorpusError, match="a word lies outside its window"):
        read_windows(corpus, NotesSection(start="warm"), T)


# Taken on by others.


def test_kept_frozen_updated_or_dropped(batch):
    model = make_model()
    fill(model)
    assert set_notes(model.encoder, "frozen") is None
    assert isinstance(set_notes(model.encoder, "update", gamma=0.2), NoteTaker)
    assert set_notes(model.encoder, "drop") is None
    assert model.encoder.notes is None
    assert model.encoder.config.notes is None
    plain = model.encoder.embed(batch.tokens_BT, batch.positions_BT)
    assert torch.equal(plain, model.encoder.embed(batch.tokens_BT, batch.positions_BT, batch.words))
    with pytest.raises(ValueError, match="trained without notes; 'drop' is all there is"):
        set_notes(model.encoder, "frozen")
