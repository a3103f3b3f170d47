"""Operations of a text that leaves at some layer: 2 for each multiply-add of a matrix product, attention's included.

FastBERT's figures leave attention's products out, and the tool that it used counts 1 or 2 by its version.
"""

from trainer.light.early_exit.branch import BranchConfig
from trainer.light.early_exit.model import ExitsConfig
from trainer.model.config import UNTIED, ModelConfig
from trainer.model.flops import layer_flops


def branch_flops(width: int, classes: int, config: BranchConfig, length: int) -> int:
    c = config.width
    read = 1 if config.pooling == "cls" else length
    attention = 2 * c * c * (2 + 2 * length) + 4 * length * c if config.pooling == "attention" else 0
    return 2 * read * width * c + attention + 2 * c * c + 2 * c * classes


def head_flops(config: ModelConfig, classes: int) -> int:
    return 2 * config.width * (config.width + classes)


def text_flops(config: ModelConfig, classes: int, exits: ExitsConfig | None, length: int, layers: int) -> int:
    """Of a text of `length` pieces that left behind `layers` layers; without `exits` no branch was asked."""
    asked = [] if exits is None else [number for number in exits.exits if number <= min(layers, config.layers - 1)]
    positions = 2 * length * length * config.width if config.positions in UNTIED and layers else 0
    branches = sum(branch_flops(config.width, classes, exits.branch, length) for _ in asked) if exits else 0
    head = head_flops(config, classes) if layers == config.layers else 0
    # Behind the last layer's attention [CLS] alone goes on.
    shares = [1 / length if k == config.layers - 1 else 1 for k in range(layers)]
    each = sum(layer_flops(config, k, length, share) for k, share in enumerate(shares))
    return round(length * each) + positions + branches + head
