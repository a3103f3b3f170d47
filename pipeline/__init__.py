"""Raw text in, clean shards out (Apache Beam). Never imports torch or the trainer."""
