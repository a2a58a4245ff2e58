"""Codecs: bytes to typed values and back. They keep h11's shape: receive_data, receive_eof, next_event."""
