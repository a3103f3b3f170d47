import numpy as np
import pytest
import torch

from schemas.manifest import file_digest, read_manifest, write_manifest
from schemas.vocabulary import CLS, FIRST_ORDINARY, PAD, SEP
from trainer.data.batch import PlanRows, collate
from trainer.data.masking import Masking
from trainer.data.shards import Corpus, CorpusError
from trainer.data.stream import packer

NOTHING = Masking(rate=0.0)
T = 24


def documents(vocabulary_size, count=120, seed=0):
    rng = np.random.default_rng(seed)
    # [UNK] (1) may stand in text where a foreign vocabulary has no byte fallback.
    return [[int(x) or 1 for x in rng.integers(6, vocabulary_size, n)] for n in rng.integers(0, 60, count)]


def plans(corpus, seed=3, epoch=1, window_documents=50):
    one = packer(corpus, seed, T, window_documents)
    return [one.plan(epoch, window) for window in range(one.windows)]


def whole(plan):
    return PlanRows(plan, 0, plan.rows)


@pytest.mark.parametrize("vocabulary_size", [300, 65_536, 70_000])
def test_rows_hold_their_pieces_wrapped_and_padded(tmp_path, make_corpus, vocabulary_size):
    texts = documents(vocabulary_size)
    corpus = Corpus(make_corpus(tmp_path, texts, vocabulary_size, shards=3, batch_rows=7))
    for plan in plans(corpus):
        batch = collate(corpus, [whole(plan)], NOTHING)
        for row in range(plan.rows):
            tokens, segments, positions = [], [], []
            for number, p in enumerate(range(plan.first_piece[row], plan.first_piece[row + 1]), start=1):
                piece = texts[plan.document[p]][plan.offset[p] : plan.offset[p] + plan.length[p]]
                tokens += [CLS, *piece, SEP]
                segments += [number] * (len(piece) + 2)
                positions += range(len(piece) + 2)
            padding = [0] * (T - len(tokens))
            assert batch.tokens_BT[row].tolist() == tokens + padding
            assert batch.segments_BT[row].tolist() == segments + padding
            assert batch.positions_BT[row].tolist() == positions + padding
        assert batch.token_count == plan.token_count == int((batch.segments_BT > 0).sum())
        assert PAD == 0


@pytest.mark.parametrize("masking", [Masking(), Masking(0.5, 0.3, 0.7), Masking(1.0, 1.0, 0.0)])
def test_targets_are_the_original_ids_of_ordinary_pieces(tmp_path, make_corpus, masking):
    texts = [[1 if k % 5 == 0 else x for k, x in enumerate(d)] for d in documents(300)]
    corpus = Corpus(make_corpus(tmp_path, texts, 300))
    parts = [whole(plan) for plan in plans(corpus)]
    plain, batch = collate(corpus, parts, NOTHING), collate(corpus, parts, masking)
    index, tokens = batch.target_index_M, batch.tokens_BT.flatten().clone()
    assert index.dtype == batch.target_M.dtype == tokens.dtype == torch.int64
    assert (index.diff() > 0).all()
    assert (batch.target_M >= FIRST_ORDINARY).all()
    tokens[index] = batch.target_M
    assert torch.equal(tokens, plain.tokens_BT.flatten())
    assert torch.equal(batch.segments_BT, plain.segments_BT)
    ordinary = int((plain.tokens_BT >= FIRST_ORDINARY).sum())
    assert abs(len(index) - masking.rate * ordinary) <= len(tokens) / T
    if masking.rate == 1:
        assert len(index) == ordinary


def test_masks_differ_between_epochs_for_the_same_document(tmp_path, make_corpus):
    corpus = Corpus(make_corpus(tmp_path, [list(range(6, 306))], 400))
    masks = []
    for epoch in range(3):
        plan = packer(corpus, 0, 512).plan(epoch, 0)
        masks.append(collate(corpus, [whole(plan)], Masking()).target_index_M.tolist())
    assert masks[0] != masks[1] != masks[2] != masks[0]


def test_a_row_does_not_depend_on_its_company(tmp_path, make_corpus):
    corpus = Corpus(make_corpus(tmp_path, documents(300), 300))
    first, second, _ = plans(corpus)
    together = collate(corpus, [PlanRows(first, 3, 7), PlanRows(second, 0, 2)], Masking())
    alone = [collate(corpus, [PlanRows(plan, row, row + 1)], Masking()) for plan, row in
             [(first, 3), (first, 4), (first, 5), (first, 6), (second, 0), (second, 1)]]  # fmt: skip
    assert torch.equal(together.tokens_BT, torch.cat([b.tokens_BT for b in alone]))
    assert torch.equal(together.target_M, torch.cat([b.target_M for b in alone]))
    shifted = torch.cat([b.target_index_M + k * T for k, b in enumerate(alone)])
    assert torch.equal(together.target_index_M, shifted)
    assert together.rows == ((0, 3), (0, 4), (0, 5), (0, 6), (1, 0), (1, 1))
    assert together.epoch == 1
    assert together.describe() == "epoch 1, window 0, rows 3-6; epoch 1, window 1, rows 0-1"


def test_moves_to_a_device(tmp_path, make_corpus):
    corpus = Corpus(make_corpus(tmp_path, documents(300), 300))
    batch = collate(corpus, [whole(plans(corpus)[0])], Masking())
    moved = batch.to("meta")
    for name in ("tokens_BT", "segments_BT", "positions_BT", "target_index_M", "target_M"):
        assert getattr(moved, name).device.type == "meta"
        assert getattr(moved, name).shape == getattr(batch, name).shape
        assert getattr(batch, name).device.type == "cpu"
    assert moved.source == batch.source


def test_an_id_outside_the_vocabulary_names_shard_and_row(tmp_path, make_corpus):
    texts = documents(300)
    texts[77] = [10, 20, 400, 30]
    make_corpus(tmp_path, texts, 300, shards=2)
    # As a damaged shard with a right length would be.
    assert all(file_digest(tmp_path / e.path) == e.sha256 for e in read_manifest(tmp_path).files)
    corpus = Corpus(tmp_path)
    with pytest.raises(CorpusError, match=r"shard-00001-of-00002\.arrow, row 17: token id 400, the vocabulary has 300"):
        collate(corpus, [whole(plan) for plan in plans(corpus)], Masking())
    manifest = read_manifest(tmp_path)
    write_manifest(tmp_path, manifest.model_copy(update={"vocabulary_size": 401}))
    corpus = Corpus(tmp_path)
    assert sum(len(collate(corpus, [whole(plan)], NOTHING).rows) for plan in plans(corpus)) > 0
