"""The sections of the pipeline's config, one frozen model each; pipeline.config joins them."""
