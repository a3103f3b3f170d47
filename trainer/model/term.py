"""What positions contribute to attention, described so that every attention path can use it.

Shape suffixes: B rows, T tokens of a row, H heads, C head width, F position features, R = C / 2 planes of a
rotation, K = 2 T - 1 distances.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class PositionFeatures(NamedTuple):
    """Positional scores in factored form: score[i, j] = query[i] . key[j], not yet scaled."""

    query_BHTF: Tensor
    key_BHTF: Tensor


class Rotation(NamedTuple):
    """RoPE: features 2 r and 2 r + 1 are the plane r."""

    cos_B1TR: Tensor
    sin_B1TR: Tensor

    def __call__(self, x_BHTC: Tensor) -> Tensor:
        """Turned in the table's precision, returned in that of x."""
        wide_BHTR2 = x_BHTC.to(self.cos_B1TR.dtype).unflatten(-1, (-1, 2))
        if not torch.compiler.is_compiling():
            # One pass, 2 to 6 times as fast on a CPU as the four real products; compilers do not know complex numbers.
            turned_BHTR = torch.view_as_complex(wide_BHTR2) * torch.complex(self.cos_B1TR, self.sin_B1TR)
            return torch.view_as_real(turned_BHTR).flatten(-2).to(x_BHTC.dtype)
        even, odd = wide_BHTR2.unbind(-1)
        turned = even * self.cos_B1TR - odd * self.sin_B1TR, even * self.sin_B1TR + odd * self.cos_B1TR
        return torch.stack(turned, -1).flatten(-2).to(x_BHTC.dtype)


class PositionTerm(NamedTuple):
    """The sum of its parts; none of them: positions are in the input alone."""

    features: PositionFeatures | None = None
    distance_HK: Tensor | None = None
    """Score of a key at distance j - i = k - (T - 1), not scaled. Positions run 0, 1, 2, ... inside a document and
    documents lie in one piece, so a distance between positions is one between places of the row."""
    untied_BT: Tensor | None = None
    """True at [CLS] where neither its row nor its column has scores by distance (TUPE-R)."""
    rotation: Rotation | None = None


class Positions(nn.Module):
    """Base of all kinds of positions: adds nothing and scores nothing."""

    def added(self, positions_BT: Tensor) -> Tensor | None:
        """embeddings_BTD that go into the encoder's input."""
        return None

    def term(self, positions_BT: Tensor, dtype: torch.dtype) -> PositionTerm:
        """Made once a forward, for all layers.

        Args:
            positions_BT: int64, 0 at each [CLS].
            dtype: of the products that use the features.
        """
        return PositionTerm()


def by_distance(distance_HK: Tensor) -> Tensor:
    """scores_HTT with scores[h, i, j] = distance[h, j - i + T - 1].

    Rows of [H, T, 2 T] that repeat one vector, read with a stride of 2 T - 1, move by one from row to row. Neither
    direction gathers or scatters: the backward is a sum over rows, the same on every run also on CUDA.
    """
    H, K = distance_HK.shape
    T = (K + 1) // 2
    # Places 0 .. T-1 hold distances 0 .. T-1, then one that nobody reads, then -(T-1) .. -1.
    circle_HE = torch.cat([distance_HK[:, T - 1 :], distance_HK[:, :1], distance_HK[:, : T - 1]], 1)
    return circle_HE[:, None].expand(H, T, 2 * T).reshape(H, -1)[:, : T * K].view(H, T, K)[..., :T]
