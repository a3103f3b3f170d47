"""Chunks that spaCy's English tokenizer takes from a table: contractions that part, abbreviations and emoticons.

Source: spaCy 3.8, lang/en/tokenizer_exceptions.py (MIT License); those of two parts and of at most 9 ASCII characters.
"""

from functools import lru_cache

import numpy as np

LONGEST = 9
"""Characters of a key: 7 bits each."""
_SLOTS = 1 << 12
SHIFT = 64 - 12
_MIX = 0x9E3779B97F4A7C15

_EMOTICONS = r"""
    '' (*_*) (-8 (-: (-; (-_-) (._.) (: (; (= (>_<) (^_^) (o: )-: ): -_- -__- ._. 0.0 0.o 0_0 0_o 8) 8-) 8-D 8D :'( :')
    :'-( :'-) :( :(( :((( :() :) :)) :))) :* :-( :-(( :-((( :-) :-)) :-))) :-* :-/ :-0 :-3 :-> :-D :-O :-P :-X :-] :-o
    :-p :-x :-| :-} :/ :0 :1 :3 :> :D :O :P :X :] :o :o) :p :x :| :} ;) ;-) ;-D ;D ;_; <.< </3 <3 <33 <333 =( =) =/ =3
    =D =[ =] =| >.< >.> >:( >:o ><(((*> @_@ O.O O.o O_O O_o V.V V_V [-: [: [= \") ]= ^_^ ^__^ ^___^ o.0 o.O o.o o_0 o_O
    o_o v.v v_v
"""
_PERSONS = ("i", "you", "he", "she", "it", "we", "they")
_ASKED = ("who", "what", "when", "where", "why", "how", "there", "that", "this", "these", "those")
_MANY = tuple(word for word in _ASKED if word not in ("that", "this"))
_NOT = ("ca", "could", "do", "does", "did", "had", "may", "might", "must", "need", "ought", "sha", "should", "wo")
_IS_NOT = ("would", "ai", "are", "is", "was", "were", "have", "has", "dare")
_ENDINGS = {
    "'m": ("i",),
    "'ll": (*_PERSONS, *_ASKED),
    "'d": (*_PERSONS, *_ASKED),
    "'ve": ("i", "you", "we", "they", *_MANY, "could", "might", "must", "should", "would", "not"),
    "'re": ("you", "we", "they", *_MANY),
    "'s": ("he", "she", "it", *(word for word in _ASKED if word not in ("these", "those"))),
    "n't": (*_NOT, *_IS_NOT),
}
# As words of their own these would be wrong to part.
_NOT_WITHOUT_APOSTROPHE = frozenset(("ill", "its", "hell", "shell", "shed", "were", "well", "whore"))
_PARTED = {"cannot": 3, "gonna": 3, "gotta": 3, "let's": 3, "c'mon": 3, "y'all": 2, "yall": 1}
_WHOLE = """
    and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout 's 'S 'd 'll 'em 'nuff ma'am Ma'am o'clock O'clock
    lovin' Lovin' havin' Havin' doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' C++
    Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan.
    Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa.
    S.C. Sep. Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E.
    Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
"""


def exceptions() -> dict[str, int]:
    """Chunk -> where it parts; 0: it stays whole."""
    found = {}
    for ending, words in _ENDINGS.items():
        for word in words:
            for stem in (word, word.title()):
                found[stem + ending] = len(stem)
                bare = stem + ending.replace("'", "")
                if bare.lower() not in _NOT_WITHOUT_APOSTROPHE:
                    found[bare] = len(stem)
    for word, split in _PARTED.items():
        found[word] = split
        if word != "yall" and word != "y'all":
            found[word.capitalize()] = split
    for hour in range(1, 13):
        found |= {f"{hour}{half}": len(str(hour)) for half in ("am", "pm", "a.m.", "p.m.")}
    found |= dict.fromkeys([*_WHOLE.split(), *_EMOTICONS.split()], 0)
    found |= {f"{letter}.": 0 for letter in "abcdefghijklmnopqrstuvwxyz"}
    return {chunk: split for chunk, split in found.items() if len(chunk) <= LONGEST}


@lru_cache(maxsize=1)
def table() -> tuple[np.ndarray, np.ndarray]:
    """Keys (uint64) and splits (int16, -1 in free slots), open addressing by the high bits of a product."""
    keys, splits = np.zeros(_SLOTS, np.uint64), np.full(_SLOTS, -1, np.int16)
    for chunk, split in exceptions().items():
        packed = 0
        for character in chunk:
            packed = packed << 7 | ord(character)
        slot = (packed * _MIX & (1 << 64) - 1) >> SHIFT
        while splits[slot] >= 0:
            slot = (slot + 1) & (_SLOTS - 1)
        keys[slot], splits[slot] = packed, split
    keys.setflags(write=False)
    splits.setflags(write=False)
    return keys, splits
