"""One reader a format: chunks of bytes in, records out."""
