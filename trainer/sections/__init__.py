"""The sections of the trainer's config, one frozen model each; trainer.config joins them."""
