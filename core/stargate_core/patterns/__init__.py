"""Finding what has a form: addresses, numbers, keys, in texts and in streams of them.

Patterns are written as regular expressions, and found by automata of our own: in time that is proportional
to the text, whatever the pattern and whatever the text, and with an exact answer to the question that a
stream asks and `re` cannot answer: may what has come so far be the beginning of something?
"""
