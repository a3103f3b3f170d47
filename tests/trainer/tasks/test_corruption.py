"""The tasks with a meta controller: losses against a plain reference, gradients, memory, and the parts they report."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from schemas.vocabulary import FIRST_ORDINARY, MASK, NEITHER
from trainer.data.batch import RowRange
from trainer.tasks import corruption, multiple_choice
from trainer.tasks.corruption import CorruptionTask
from trainer.tasks.masked_lm import MaskedLM
from trainer.tasks.multiple_choice import MultipleChoice

KINDS = ["multiple-choice", "replaced-token"]
TASKS = [("multiple-choice", {}), ("multiple-choice", {"sampling": '"replacement"'}), ("replaced-token", {})]


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything goes through in parts of a few positions."""
    monkeypatch.setattr(corruption, "HEAD_LOGITS", 60 * 7)
    monkeypatch.setattr(corruption, "SAMPLED_LOGITS", {"cpu": 60 * 5})
    monkeypatch.setattr(multiple_choice, "CANDIDATE_NUMBERS", 32 * 10 * 9)


def plain_loss(task: CorruptionTask, batch) -> torch.Tensor:
    """The formulas written out: whole logits, a loop over positions, no parts."""
    controller, encoder = task.controller, task.encoder
    inputs = batch.segments_BT, batch.positions_BT
    h = controller.encoder(batch.tokens_BT, *inputs).flatten(0, 1)
    matrix = encoder.token_embedding.weight @ controller.encoder.token_embedding.projection.weight.T
    matrix = matrix + controller.encoder.token_embedding.projection.bias
    logits = F.layer_norm(F.gelu(controller.dense(h)), (h.shape[1],), controller.norm.weight, controller.norm.bias)
    logits = logits @ matrix.T + controller.bias
    generator = F.cross_entropy(logits[batch.target_index_M], batch.target_M)
    corrupted = task.corrupt(batch)
    h = encoder(corrupted.tokens_BT, *inputs).flatten(0, 1)
    stands, original = corrupted.tokens_BT.flatten(), corrupted.original_BT.flatten()
    losses = []
    if isinstance(task, MultipleChoice):
        candidates, _ = task.propose(batch, corrupted)
        weight, head = encoder.token_embedding.weight, task.head
        for place, options in zip(corrupted.index_N.tolist(), candidates.tolist(), strict=True):
            x = head.norm(F.gelu(head.dense(h[place])))
            scores = torch.stack([x @ weight[c] + head.bias[c] for c in options])
            right = NEITHER if stands[place] == original[place] else int(original[place])
            losses.append(torch.logsumexp(scores, 0) - scores[options.index(right)])
    else:
        for place in corrupted.index_N.tolist():
            p = torch.sigmoid(task.head.score(F.gelu(task.head.dense(h[place]))))[0]
            losses.append(-(p.log() if stands[place] != original[place] else (1 - p).log()))
    return generator + task.settings.weight * torch.stack(losses).mean()


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize(("kind", "options"), TASKS)
def test_loss_and_gradients_are_those_of_a_plain_reference(make, kind: str, options: dict) -> None:
    task = make.task(kind, **options).double()
    batch = task.prepare(make.batch())
    output = task(batch)
    reference = plain_loss(task, batch)
    torch.testing.assert_close(output.loss, reference, rtol=1e-10, atol=1e-10)
    names = [name for name, _ in task.named_parameters()]
    ours = torch.autograd.grad(output.loss, list(task.parameters()), materialize_grads=True)
    theirs = torch.autograd.grad(reference, list(task.parameters()), materialize_grads=True)
    for name, a, b in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    assert sum(float(gradient.abs().sum()) > 0 for gradient in ours) > len(names) * 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_loss_teaches(make, kind: str) -> None:
    """The main loss moves nothing of the controller, the controller's nothing of the encoder but the shared table."""
    task = make.task(kind)
    output = task(task.prepare(make.batch()))
    controller_term, main_term = output.terms
    for term, own, foreign in (
        (controller_term, "controller.", ("encoder.", "head.")),
        (main_term, ("encoder.", "head."), "controller."),
    ):
        task.zero_grad()
        term.mean.backward(retain_graph=True)
        moved = {name for name, p in task.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}
        assert "encoder.token_embedding.weight" in moved
        assert not [name for name in moved - {"encoder.token_embedding.weight"} if name.startswith(foreign)]
        assert len([name for name in moved if name.startswith(own)]) > 10
    torch.testing.assert_close(output.loss, controller_term.mean + main_term.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_the_controller_alone_is_a_small_masked_lm(make, kind: str) -> None:
    """The same loss, and the same gradient of every parameter that both have."""
    task = make.task(kind).double()
    small = MaskedLM(task.controller.config).double()
    state = {f"encoder.{k}": v for k, v in task.controller.encoder.state_dict().items() if "token_embedding" not in k}
    state |= {f"head.{k}": v for k, v in task.controller.state_dict().items() if not k.startswith("encoder.")}
    state["encoder.token_embedding.weight"] = task.controller.matrix().detach()
    small.load_state_dict(state)
    batch = task.prepare(make.batch())
    controller_term = task(batch).terms[0]
    other = small(batch)
    # The masked LM takes its softmax in fp32.
    torch.testing.assert_close(controller_term.mean.float(), other.loss, rtol=1e-6, atol=0)
    controller_term.mean.backward()
    other.loss.backward()
    theirs = {name: p.grad for name, p in small.named_parameters()}
    for name, parameter in task.controller.named_parameters():
        if "token_embedding" not in name:
            wanted = theirs[name if name.startswith("encoder.") else f"head.{name}"]
            torch.testing.assert_close(parameter.grad, wanted, rtol=1e-5, atol=1e-7)
    embedding = task.controller.encoder.token_embedding
    through = theirs["encoder.token_embedding.weight"] @ embedding.projection.weight
    rows = torch.arange(len(through)) != 0  # torch gives a padding row no gradient from lookups
    torch.testing.assert_close(task.encoder.token_embedding.weight.grad[rows], through[rows], rtol=1e-5, atol=1e-7)


class Largest(TorchDispatchMode):
    """Records the largest floating-point tensor that any operation makes, the backward's included."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                # A view costs nothing: count what lies in memory.
                self.numbers = max(self.numbers, leaf.untyped_storage().nbytes() // leaf.element_size())
        return result


@pytest.mark.parametrize(("kind", "options"), TASKS)
def test_no_logits_of_all_positions_at_once(make, kind: str, options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, rows = 4000, 8
    monkeypatch.setattr(corruption, "HEAD_LOGITS", vocabulary * 8)
    monkeypatch.setattr(corruption, "SAMPLED_LOGITS", {"cpu": vocabulary * 8})
    task = make.task(kind, vocabulary, **options)
    batch = task.prepare(make.batch(rows=rows, vocabulary=vocabulary))
    table = vocabulary * task.config.width
    with Largest() as largest:
        output = task(batch)
        output.loss.backward()
    positions = batch.token_count
    # The shared table and its gradient are the largest, larger than any logits.
    assert largest.numbers <= max(table, vocabulary * 8 + 64)
    assert largest.numbers < positions * vocabulary / 3
    monkeypatch.setattr(corruption, "SAMPLED_LOGITS", {"cpu": vocabulary * 1000})
    if kind == "multiple-choice":
        with Largest() as largest:
            task(batch)
        assert largest.numbers >= positions * vocabulary  # the recorder does see them


@pytest.mark.parametrize(("kind", "options"), TASKS)
def test_rows_draw_by_their_address_alone(make, kind: str, options: dict) -> None:
    """A batch in two halves has the same corruption, candidates and summed loss; another row or epoch another."""
    task = make.task(kind, **options)
    batch = make.batch()
    length, cut = 16, 3
    halves = []
    for first, last in ((0, cut), (cut, 6)):
        mine = (batch.target_index_M >= first * length) & (batch.target_index_M < last * length)
        rows = {name: getattr(batch, name)[first:last] for name in ("tokens_BT", "segments_BT", "positions_BT")}
        halves.append(
            replace(
                batch,
                **rows,
                target_index_M=batch.target_index_M[mine] - first * length,
                target_M=batch.target_M[mine],
                source=(RowRange(0, 0, first, last),),
            )
        )
    whole, parts = task.prepare(batch), [task.prepare(half) for half in halves]
    ours = task.corrupt(whole)
    theirs = [task.corrupt(half) for half in parts]
    assert torch.equal(ours.tokens_BT, torch.cat([half.tokens_BT for half in theirs]))
    if isinstance(task, MultipleChoice):
        candidates = [task.propose(half, corrupted)[0] for half, corrupted in zip(parts, theirs, strict=True)]
        assert torch.equal(task.propose(whole, ours)[0], torch.cat(candidates))
    output, outputs = task(whole), [task(half) for half in parts]
    for k in range(2):
        total = sum(o.terms[k].mean * o.terms[k].count for o in outputs)
        torch.testing.assert_close(output.terms[k].mean * output.terms[k].count, total, rtol=1e-5, atol=1e-5)
        assert task.counts(whole)[k] == output.terms[k].count
    later = task.prepare(replace(batch, source=(RowRange(1, 0, 0, 6),)))
    assert not torch.equal(task.corrupt(later).tokens_BT, ours.tokens_BT)


def test_the_controller_reads_what_the_loader_put_there(make) -> None:
    """[MASK], another piece or the original; it fills all of them, the rest stays, and the original is the original."""
    task, batch = make.task("multiple-choice"), make.batch()
    tokens = batch.tokens_BT.clone().flatten()
    tokens[batch.target_index_M[::3]] = 33
    tokens[batch.target_index_M[1::3]] = batch.target_M[1::3]
    batch = replace(batch, tokens_BT=tokens.view_as(batch.tokens_BT))
    prepared = task.prepare(batch)
    assert torch.equal(prepared.tokens_BT, batch.tokens_BT)
    read = []
    task.controller.encoder.token_embedding.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    corrupted = task.corrupt(prepared)
    assert torch.equal(read[0], batch.tokens_BT)
    rest = torch.ones(tokens.numel(), dtype=torch.bool)
    rest[batch.target_index_M] = False
    assert torch.equal(corrupted.tokens_BT.flatten()[rest], tokens[rest])
    assert torch.equal(corrupted.original_BT.flatten()[batch.target_index_M], batch.target_M)
    assert not (corrupted.tokens_BT == MASK).any()
    assert (corrupted.tokens_BT.flatten()[batch.target_index_M] >= FIRST_ORDINARY).all()
    assert not set(corrupted.index_N.tolist()) & set((batch.segments_BT == 0).flatten().nonzero().flatten().tolist())
    with pytest.raises(ValueError, match="prepare"):
        task.corrupt(batch)


@pytest.mark.parametrize("kind", KINDS)
def test_parts(make, kind: str) -> None:
    """replace_rate = masked share * (1 - the controller's accuracy); accuracies counted by hand."""
    task = make.task(kind)
    batch = task.prepare(make.batch(rows=64))
    with torch.no_grad():
        # A controller that is often right, as one is that has learnt.
        task.controller.bias[20:40] += 6
        batch = replace(batch, target_M=batch.target_M % 4 + 20)
        output = task(batch)
        corrupted = task.corrupt(batch)
    parts = {name: float(value) for name, value in output.parts.items()}
    positions = len(corrupted.index_N)
    masked_share = len(batch.target_M) / positions
    assert 0.02 < parts["controller_accuracy"] < 0.5
    assert parts["replace_rate"] == pytest.approx(masked_share * (1 - parts["controller_accuracy"]), rel=1e-5)
    replaced = int((corrupted.tokens_BT != corrupted.original_BT).sum())
    assert int(output.part_counts["replaced_accuracy"]) == replaced
    assert int(output.part_counts["unreplaced_accuracy"]) == positions - replaced
    assert parts["main_loss"] * 50 + parts["controller_loss"] == pytest.approx(float(output.loss), rel=1e-5)
    assert all(not value.requires_grad for value in output.parts.values())
    assert all(0 <= value <= 1 for name, value in parts.items() if not name.endswith("loss"))
    with torch.no_grad():
        if kind == "multiple-choice":
            task.head.bias[NEITHER] = 1e4  # the collapse
            parts = {name: float(value) for name, value in task(batch).parts.items()}
            assert parts["neither_share"] == 1
        else:
            task.head.score.bias.fill_(-1e4)
            parts = {name: float(value) for name, value in task(batch).parts.items()}
    assert (parts["replaced_accuracy"], parts["unreplaced_accuracy"]) == (0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_no_targets(make, kind: str) -> None:
    """All of it is original then, and the main network still learns that."""
    task, batch = make.task(kind), make.batch()
    output = task(task.prepare(replace(batch, target_index_M=batch.target_index_M[:0], target_M=batch.target_M[:0])))
    assert (output.terms[0].count, float(output.terms[0].mean.detach())) == (0, 0)
    output.loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in task.parameters() if p.grad is not None)
    assert int(output.part_counts["replaced_accuracy"]) == 0


@pytest.mark.parametrize(("kind", "options"), TASKS)
def test_bf16_autocast(make, kind: str, options: dict) -> None:
    task = make.task(kind, **options)
    output = task(task.prepare(make.batch()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        other = task(task.prepare(make.batch()))
    assert other.loss.dtype == torch.float32
    other.loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in task.parameters())
    assert other.terms[0].mean.item() == pytest.approx(output.terms[0].mean.item(), rel=0.05)


@pytest.mark.parametrize(("kind", "options"), TASKS)
def test_learns_a_batch(make, kind: str, options: dict) -> None:
    """The draws stay the same while the rows do, so the main network can learn which pieces were put in."""
    task = make.task(kind, std=0.02, data__mask_rate=0.3, controller_width=16, **options)
    batch = task.prepare(make.batch(rows=2))
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3, weight_decay=0)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        output = task(batch)
        output.loss.backward()
        optimizer.step()
        losses.append({name: float(value) for name, value in output.parts.items()})
    assert losses[-1]["main_loss"] < losses[0]["main_loss"] / 2
    assert losses[-1]["controller_loss"] < losses[0]["controller_loss"] - 0.5


@pytest.mark.parametrize("kind", ["multiple-choice", pytest.param("replaced-token", marks=pytest.mark.slow)])
def test_compiles(make, kind: str) -> None:
    """With the draws outside of its graphs; the steered value is no constant of one."""
    torch.compiler.reset()
    task = make.task(kind, difficulty='"temperature"', model__layers=1)
    batch = task.prepare(make.batch())
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(task, backend=backend, dynamic=True)
    torch.testing.assert_close(compiled(batch).loss, task(batch).loss, rtol=1e-5, atol=1e-5)
    before = len(graphs)
    for level in (0.1, 0.2, 0.9):
        task.difficulty.level = level
        output = compiled(batch)
        assert float(output.parts["difficulty"]) == pytest.approx(task.difficulty.value)
        torch.testing.assert_close(output.loss, task(batch).loss, rtol=1e-5, atol=1e-5)
    assert len(graphs) <= before + 2
    torch.compiler.reset()


def test_the_table_stays_tied_in_a_copy(make) -> None:
    task = make.task("multiple-choice")
    twin = copy.deepcopy(task)
    with torch.no_grad():
        twin.encoder.token_embedding.weight.zero_()
    assert (twin.controller.matrix() == 0).all()
    assert (task.controller.matrix() != 0).any()
    names = dict(task.named_parameters())
    assert sum("token_embedding.weight" in name for name in names) == 1
