"""`siliang-trainer compress`: what makes a trained model light, one command each."""

import typer

from trainer.distillation.command import teach
from trainer.finetune.command import finetune
from trainer.light.early_exit.command import calibrate, early_exit
from trainer.light.pruning.command import prune
from trainer.light.trimming.command import trim

compress = typer.Typer(
    help="Makes a trained model small or fast.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
compress.command("early-exit")(early_exit)
compress.command()(calibrate)
compress.command()(teach)
# The same as `finetune --teacher`, where one looks for it.
compress.command("distill")(finetune)
compress.command()(prune)
compress.command()(trim)
