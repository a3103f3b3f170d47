"""Operations a token costs, for the model FLOPs utilisation (MFU)."""

from trainer.model.config import UNTIED, ModelConfig

BACKWARD = 2
"""A backward pass has two products for each one of the forward pass."""


def layer_flops(config: ModelConfig, layer: int, length: int, share: float = 1) -> float:
    """Of one token's forward pass through a layer, in a row of `length`; `share` of the tokens go on behind the
    attention."""
    shape, d = config.shape(layer), config.width
    inner = len(shape.heads) * config.head_width
    return 2 * (3 * d * inner + share * (d * inner + 2 * d * shape.feed_forward)) + 4 * length * inner


def flops_per_token(config: ModelConfig, length: int, predicted_share: float, last_share: float | None = None) -> float:
    """Floating-point operations per token, forward and backward, of masked-LM training.

    Counts the matrix products that the model defines, 2 operations per multiply-add, whatever path computes them:
    projections, feed-forward, scores and weighted sums over whole rows, TUPE's positional scores (once a forward), and
    the head on predicted positions. Left out is what is no product: norms, NormFormer's among them, softmax, GELU,
    lookups, scores by distance (BERT-R, TUPE-R's second part, ALiBi), RoPE's rotations; and TUPE's projection of the
    position table, which does not grow with the batch.

    Args:
        length: T, tokens in a row; attention is counted over all of them, packed or not.
        predicted_share: share of the tokens whose prediction is asked for (0.15).
        last_share: of the tokens, those that go on behind the attention of the last layer. None: those that are
            predicted; where there are notes, which look at the states of others, all tokens do, forward alone
            (`Encoder.forward`).
    """
    d = config.width
    if last_share is None:
        seen = 0 if config.notes is None else 1 / (1 + BACKWARD)
        last_share = predicted_share + seen
    shares = [*[1.0] * (config.layers - 1), last_share]
    layers = sum(layer_flops(config, number, length, share) for number, share in enumerate(shares))
    positions = 2 * length * d if config.positions in UNTIED else 0
    head = 2 * (d * d + d * config.vocabulary_size)
    return (1 + BACKWARD) * (layers + positions + predicted_share * head)
