"""The statistics and verdicts once more, slow and plain: what the fast ones must equal (fixture `reference`)."""

import math
import re
import statistics as averages
import unicodedata
from collections import Counter

from pipeline.text import c4
from pipeline.text.judge import explain
from pipeline.text.rules import RULES
from pipeline.text.script import RANGES, TERMINALS, UNSPACED

BULLETS = ("•", "‣", "◦", "▪", "- ", "* ")
STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«»“”‘’–—…"
SPANS = [span for name in UNSPACED for span in RANGES[name]]


def kind(character):
    """S: letter of an unspaced script; else L, M or N as Unicode has it, or - for all else."""
    # Plane 14 holds tags and variation selectors: they are no part of a word, as nothing beyond plane 3 is.
    category = unicodedata.category(character)[0] if character < "\U00040000" else "C"
    solo = category == "L" and any(first <= ord(character) <= last for first, last in SPANS)
    return "S" if solo else category if category in "LMN" else "-"


def words_of(text):
    """(word, of an unspaced script, with a letter) for each word, and the number of symbols."""
    found, symbols = [], 0
    for chunk in text.split():
        runs, inside_solo = [""], False
        for character in chunk:
            what = kind(character)
            if what == "S" or (inside_solo and what != "M"):
                runs.append("")
            runs[-1] += character
            inside_solo = what == "S" or (inside_solo and what == "M")
        before = len(found)
        for run in runs:
            at = [index for index, character in enumerate(run) if kind(character) != "-"]
            if at:
                word = run[at[0] : at[-1] + 1]
                found.append((word, kind(word[0]) == "S", any(kind(character) in "LS" for character in word)))
        symbols += len(found) == before
    return found, symbols


def copies(items, lengths):
    """How many items occurred before, and their lengths."""
    seen, count, length = set(), 0, 0
    for item, size in zip(items, lengths, strict=True):
        if item in seen:
            count += 1
            length += size
        seen.add(item)
    return count, length


def grams_of(words, size):
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


def covered(words, places, size):
    """Code points of the words that n-grams at these places cover."""
    return sum(len(words[at]) for at in {place + step for place in places for step in range(size)})


def top(words, size):
    grams = grams_of(words, size)
    counts = Counter(grams)
    most = max(counts.values(), default=0)
    if most < 2:
        return 0
    return max(
        covered(words, [at for at, gram in enumerate(grams) if gram == wanted], size)
        for wanted, count in counts.items()
        if count == most
    )


def duplicate(words, size):
    seen, places = set(), []
    for at, gram in enumerate(grams_of(words, size)):
        if gram in seen:
            places.append(at)
        seen.add(gram)
    return covered(words, places, size)


def statistics(text, script="latin"):
    found, symbols = words_of(text)
    words = [word for word, _, _ in found]
    spaced = [len(word) for word, solo, _ in found if not solo]
    units = max(1, len(words) + symbols)
    characters = max(1, sum(map(len, words)))
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    held, blocks = [], []
    for line in [*text.split("\n"), ""]:
        if line.strip():
            held.append(line.strip())
        elif held:
            blocks.append(tuple(held))
            held = []
    count = max(1, len(lines))
    line_characters = max(1, sum(map(len, lines)))
    copied_lines, copied_line_characters = copies(lines, map(len, lines))
    copied_blocks, copied_block_characters = copies(blocks, (sum(map(len, block)) for block in blocks))
    chunks = {word.strip(PUNCTUATION) for word in text.lower().split()}
    values = {
        "characters": len(text),
        "words": len(words),
        "mean_word_length": sum(spaced) / max(1, len(spaced)),
        "hash_ratio": text.count("#") / units,
        "ellipsis_ratio": (text.count("...") + text.count("…")) / units,
        "bullet_lines": sum(line.startswith(BULLETS) for line in lines) / count,
        "ellipsis_lines": sum(line.endswith(("...", "…")) for line in lines) / count,
        "alphabetic_words": sum(alphabetic for _, _, alphabetic in found) / units,
        "stop_words": len(chunks & STOP_WORDS),
        "lines": len(lines),
        "terminal_lines": sum(line.endswith(tuple(TERMINALS)) for line in lines) / count,
        "short_lines": sum(len(line) <= 30 for line in lines) / count,
        "newline_ratio": text.count("\n") / max(1, len(words)),
        "duplicate_lines": copied_lines / count,
        "duplicate_line_characters": copied_line_characters / line_characters,
        "duplicate_paragraphs": copied_blocks / max(1, len(blocks)),
        "duplicate_paragraph_characters": copied_block_characters / line_characters,
        **{f"top_{size}gram_characters": top(words, size) / characters for size in (2, 3, 4)},
        **{f"duplicate_{size}gram_characters": duplicate(words, size) / characters for size in range(5, 11)},
    }
    return values | of_characters(text, found, symbols) | c4_statistics(text, script)


def script_of(character):
    """The script of a letter or mark, None of all else."""
    if character >= "\U00040000" or unicodedata.category(character)[0] not in "LM" or "\u0300" <= character <= "\u036f":
        return None
    return next((name for name, spans in RANGES.items() if any(a <= ord(character) <= b for a, b in spans)), "other")


def of_characters(text, found, symbols):
    # Planes above the third hold no letters; their few marks (E0100 and on) count as symbols.
    kinds = Counter(unicodedata.category(character) if character < "\U00040000" else "Co" for character in text)
    for character in text:
        if character.isspace():
            kinds[unicodedata.category(character)] -= 1
    white = sum(character.isspace() for character in text)
    visible = len(text) - white
    letters = sum(count for kind, count in kinds.items() if kind[0] == "L")
    marks = sum(count for kind, count in kinds.items() if kind[0] == "M")
    numbers = sum(count for kind, count in kinds.items() if kind[0] == "N")
    lengths = [min(63, len(word)) for word, solo, _ in found if not solo]
    capitals = [
        word
        for word, solo, alphabetic in found
        if not solo
        and alphabetic
        and len(word) > 1
        and all(unicodedata.category(character) == "Lu" for character in word if kind(character) in "LS")
    ]
    scripts = Counter(script_of(character) for character in text if character < "\U00040000")
    del scripts[None]
    order = [*sorted(scripts.values(), reverse=True), 0, 0]
    scripted = max(1, sum(scripts.values()))
    data = text.encode()
    urls = re.findall(r"[A-Za-z]://|(?<![A-Za-z0-9./])[wW]{3}\.", text)
    return {
        "median_word_length": averages.median(lengths) if lengths else 0,
        "upper_case_words": len(capitals) / max(1, len(lengths)),
        "upper_case": kinds["Lu"] / max(1, letters),
        "digits": kinds["Nd"] / max(1, visible),
        "non_alphabetic": (visible - letters - marks) / max(1, visible),
        "punctuation": (visible - letters - marks - numbers) / max(1, visible),
        "white_space": white / max(1, len(text)),
        "curly_brackets": text.count("{"),
        "urls": len(urls),
        "url_ratio": len(urls) / max(1, len(found) + symbols),
        "script_share": order[0] / scripted,
        "second_script_share": order[1] / scripted,
        "scripts": sum(count >= 0.05 * sum(scripts.values()) for count in scripts.values()),
        "entropy": entropy(data),
        "compression": matched(data) / max(1, len(data)),
    }


def entropy(data):
    """Bits per byte, to six places."""
    if not data:
        return 0
    total = sum(count * math.log2(count) for count in Counter(data).values())
    return math.floor((math.log2(len(data)) - total / len(data)) * 1e6 + 0.5) / 1e6


def matched(data):
    """Bytes in matches with earlier ones: windows of 6 bytes, an eighth of them, the latest in 8,192 slots."""
    slots, covered, done, at = {}, 0, 0, 0
    while at + 6 <= len(data):
        hashed = int.from_bytes(data[at : at + 6], "little") * 0x9E3779B97F4A7C15 % 2**64
        if hashed < 2**61:
            slot = hashed >> 48
            found = slots.get(slot)
            slots[slot] = at
            if found is not None and data[found : found + 6] == data[at : at + 6]:
                length, back = 6, 0
                while at + length < len(data) and data[found + length] == data[at + length]:
                    length += 1
                while at - back > done and found - back > 0 and data[found - back - 1] == data[at - back - 1]:
                    back += 1
                covered += length + back
                at = done = at + length
                continue
        at += 1
    return covered


def c4_statistics(text, script, limits=(("c4", c4.DEFAULT_LIMITS), ("c4_datatrove", c4.DATATROVE_LIMITS))):
    values = {}
    for prefix, in_force in limits:
        page = c4.apply(text, script, in_force)
        values |= {
            f"{prefix}_lines_long_word": page.long_word,
            f"{prefix}_lines_unterminated": page.unterminated,
            f"{prefix}_lines_short": page.short,
            f"{prefix}_lines_javascript": page.javascript,
            f"{prefix}_lines_policy": page.policy,
            f"{prefix}_lines_left": page.left,
            f"{prefix}_lorem_ipsum": page.lorem_ipsum,
            f"{prefix}_curly_brackets": page.curly_brackets,
            f"{prefix}_sentences": page.sentences,
        }
    return values


def judged(row, config):
    """scores, verdict, rule and detail of one measured row under default line limits, rule by rule."""
    if row["quarantine"] is not None:
        return [], "quarantined", row["quarantine"], row["detail"]
    scores, decider, detail = [], None, row["detail"]
    for rule in RULES.values():
        limit = float(config.limits.get(rule.name, rule.limit))
        if not rule.scope.holds(row["script"], row["language"]) or (rule.on_demand and rule.set not in config.sets):
            continue
        score = float(row[rule.statistic])
        scores.append({"rule": rule.name, "score": score, "limit": limit})
        decides = (
            rule.unit == "page"
            and (rule.set in config.sets or rule.name == "siliang.min_characters")
            and (rule.required or rule.name not in config.disable)
        )
        beyond = score < limit if rule.comparison == "min" else score > limit
        if decides and beyond and decider is None:
            decider, detail = rule.name, explain(rule, score, limit)
    return scores, "filtered" if decider else "kept", decider, detail
