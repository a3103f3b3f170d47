"""Which layer of a deeper model comes from which of a shallower one: pure functions on named tensors.

After Gong et al. 2019, "Efficient Training of BERT by Progressively Stacking" (ICML), and its code (double.py,
identity.py): only what lies below `encoder.layers.i` is renamed (and below other prefixes that a task names, see
`Task.growing`); embeddings, positions, norms outside the layers, heads, notes and every other module that layers share
stay as they are.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

Rule = Literal["stack", "interleave", "identity"]

ENCODER = ("encoder.layers.",)
"""Prefixes of the main encoder alone."""
OUTPUTS = ("attention.out.", "feed_forward.down.")
"""What ends each residual branch: its last matrix and bias."""
NORMED_OUTPUTS = ("attention_out_norm.", "feed_forward.down.")
"""The same with NormFormer's norm behind the attention, whose gain and bias end that branch. (Its gradient at a zero
input would be 1 / sqrt(epsilon), some 300, times the matrix's own.)"""


def layer_sources(old: int, new: int, rule: Rule) -> list[int | None]:
    """For each of `new` layers the one of `old` that it copies; None: it is made anew.

    "stack" 3 -> 6: 0 1 2 0 1 2. "interleave" 3 -> 6: 0 0 1 1 2 2. "identity" 3 -> 6: 0 1 2 and three new ones.
    Where `new` is no multiple of `old`, "stack" ends inside a copy and "interleave" repeats some layers once more.
    """
    if not 1 <= old <= new:
        raise ValueError(f"a model of {old} layers cannot grow to {new}")
    if rule == "identity":
        return [i if i < old else None for i in range(new)]
    if rule == "interleave":
        return [i * old // new for i in range(new)]
    return [i % old for i in range(new)]


def fresh_seed(seed: int, layers: int) -> int:
    """Of the generator that a model of this depth draws its new layers from."""
    return int.from_bytes(hashlib.blake2b(f"growth {seed} {layers}".encode(), digest_size=4).digest(), "little")


def _split(name: str, prefixes: Sequence[str]) -> tuple[str, int, str] | None:
    """(prefix, layer, rest of the name) of a tensor of a layer; '<parameter>/<state>' of the optimiser likewise."""
    for prefix in prefixes:
        if name.startswith(prefix):
            number, _, rest = name.removeprefix(prefix).partition(".")
            return prefix, int(number), rest
    return None


def _ends_branch(tensors: Mapping[str, Tensor], name: str, prefixes: Sequence[str]) -> bool:
    place = _split(name, prefixes)
    if place is None:
        return False
    prefix, layer, rest = place
    normed = f"{prefix}{layer}.{NORMED_OUTPUTS[0]}weight" in tensors
    return rest.startswith(NORMED_OUTPUTS if normed else OUTPUTS)


def grow_tensors(
    tensors: Mapping[str, Tensor], sources: Sequence[int | None], prefixes: Sequence[str] = ENCODER
) -> dict[str, Tensor]:
    """Tensors of layer s under the names of all layers made from it, the others as they are. Nothing is copied in
    memory; layers made anew are left out."""
    grown = {}
    for name, tensor in tensors.items():
        place = _split(name, prefixes)
        if place is None:
            grown[name] = tensor
            continue
        prefix, layer, rest = place
        grown |= {f"{prefix}{number}.{rest}": tensor for number, source in enumerate(sources) if source == layer}
    return grown


def silent_layers(
    tensors: Mapping[str, Tensor], sources: Sequence[int | None], prefixes: Sequence[str] = ENCODER
) -> dict[str, Tensor]:
    """Of a fresh model's tensors those of the layers made anew, what ends their branches zero.

    Under Pre-LN, x + f(LN(x)), such a layer passes on exactly what it gets; its gradient reaches the zeros first, and
    what lies before them a step later.
    """
    silent = {}
    for name, tensor in tensors.items():
        place = _split(name, prefixes)
        if place is not None and sources[place[1]] is None:
            silent[name] = tensor.new_zeros(tensor.shape) if _ends_branch(tensors, name, prefixes) else tensor
    return silent


def rescaled(tensors: Mapping[str, Tensor], factor: float, prefixes: Sequence[str] = ENCODER) -> dict[str, Tensor]:
    """What ends the branches of all layers times `factor`."""
    return {
        name: tensor * factor if _ends_branch(tensors, name, prefixes) else tensor for name, tensor in tensors.items()
    }
