"""Where log lines can go: files, standard streams, UDP, HTTP. One writer each, for the sinks of any loop.

The writers block, within limits, so sinks call them in threads.
"""
