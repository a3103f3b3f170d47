"""Shards in, a trained encoder out (torch). Never imports apache_beam or the pipeline."""
