"""One reader for each trace format, and how a stream is recognised as one of them."""
