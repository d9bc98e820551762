"""Items that are the same but for how they were stored or cut: found by content, each pair by itself.

    finder.py      READ FIRST: which of some items are near-duplicates; what was asked before is remembered
    likeness.py    what a kind of content must tell
    images.py      another encoding, another size, a crop down to 80% of each side, a mirror image
    perceptual.py, alignment.py     what it looks like roughly; whether it is so to the pixel
    texts.py       other case, punctuation and blanks, or a few other words
    shingles.py    what is left of a text, and how much of that two have in common
    store.py       the cache                joins.py    equal keys in large arrays

Whether two items are near-duplicates depends on these two alone: not on what else there is, in which order
it came, or on which machine it is asked.
"""
