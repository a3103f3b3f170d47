"""Words that were hyphenated at line ends, joined where the document itself shows the whole word."""

import re

_BROKEN = re.compile(r"(?<![^\W_])([^\W\d_]{2,})-\n[ \t]*([^\W\d_]{2,})([^\w\s]*)(?:([ \t]+)|(?=\n)|\Z)")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def join_hyphens(text: str) -> str:
    """ "exam-\\nple" becomes "example\\n": the line break goes behind the word, with what stood there.

    A word is joined only if its second part starts in lower case and the joined word stands elsewhere in the text,
    unbroken, and at least as often as the same two parts with a hyphen; case is ignored. "well-\\nknown" therefore
    stays, and so does every word that the text does not show whole. Texts have "\\n" alone for line breaks.
    """
    if "-\n" not in text:
        return text
    counts: dict[str, int] | None = None

    def joined(match: re.Match[str]) -> str:
        nonlocal counts
        first, second, marks, space = match.groups()
        if not second[0].islower():
            return match[0]
        if counts is None:
            counts = {}
            for word in _WORD.findall(text):
                folded = word.casefold()
                counts[folded] = counts.get(folded, 0) + 1
        whole = counts.get((first + second).casefold(), 0)
        if whole and whole >= counts.get(f"{first}-{second}".casefold(), 0):
            return first + second + marks + ("\n" if space else "")
        return match[0]

    return _BROKEN.sub(joined, text)
