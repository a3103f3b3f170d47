import numpy as np
import pytest

from pipeline.config import ConfigError, LanguageConfig, PipelineConfig, make_config
from pipeline.stages.clean import stage_config
from pipeline.text.html import extract
from pipeline.text.judge import judge
from pipeline.text.kernels import language as kernels
from pipeline.text.language import identify
from pipeline.text.language_model import kinds
from pipeline.text.language_vote import PIECES
from pipeline.text.rules import ALL_STATISTICS
from pipeline.text.statistics import measure

VOTE = LanguageConfig(vote=True)


def judged(batch, config):
    return judge(measure(identify(batch, config.language)), config.rules).to_pylist()


@pytest.fixture(scope="session")
def told(batch_of, samples):
    """Cleaned rows of the declarations in English, German and Chinese, and of a text in no language."""
    texts = [
        extract((samples / f"udhr-html/{name}.html").read_text(encoding="utf-8"))
        for name in ("eng", "deu_1996", "cmn_hans")
    ]

    def run(**language):
        config = make_config({"language": language, "rules": {"sets": []}})
        texts[1] = texts[1][:70]  # so that it is not quite certain
        return judged(batch_of(*texts, "1 2 3 4", None), config)

    return run


def test_without_a_wish_no_language_goes_and_no_rule_is_scored(told):
    rows = told()
    assert [row["verdict"] for row in rows] == ["kept"] * 4 + ["quarantined"]
    assert not any(score["rule"].startswith("language.") for row in rows for score in row["scores"])


def test_kept_languages(told):
    rows = told(keep=["en", "zh"])
    assert [row["verdict"] for row in rows] == ["kept", "filtered", "kept", "filtered", "quarantined"]
    assert rows[1]["rule"] == rows[3]["rule"] == "language.keep"
    assert rows[1]["detail"] == "language de (0.98), kept languages are en, zh"
    assert rows[3]["detail"] == "language und (0.00), kept languages are en, zh"
    assert rows[0]["detail"] is None
    assert rows[4]["rule"] == "invalid-utf8"
    assert {"rule": "language.keep", "score": 0.0, "limit": 1.0} in rows[1]["scores"]
    assert [row["verdict"] for row in told(keep=["und"])] == ["filtered"] * 3 + ["kept", "quarantined"]


def test_least_scores(told):
    rows = told(min_score=0.5)
    assert [row["verdict"] for row in rows] == ["kept"] * 3 + ["filtered", "quarantined"]
    assert rows[3]["rule"] == "language.min_score"
    assert rows[3]["detail"] == "language und (0.00), a score of at least 0.5 wanted"
    assert rows[0]["language_margin"] == pytest.approx(rows[0]["language_score"] - 0.5)
    rows = told(min_score=0.5, min_scores={"und": 0, "de": 1})
    assert [row["verdict"] for row in rows] == ["kept", "filtered", "kept", "kept", "quarantined"]
    assert rows[1]["detail"] == f"language de ({rows[1]['language_score']:.2f}), a score of at least 1 wanted"


def test_statistics_are_the_columns(batch_of):
    added = identify(batch_of("Some words in English, and some more of them.")).to_pylist()[0]
    for name in ("language_kept", "language_margin", "language_share"):
        assert ALL_STATISTICS[name].meaning
        assert name in added


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"language": {"keep": ["eng"]}}, "no language is called eng; known: af, am"),
        ({"language": {"min_scores": {"xx": 0.5}}}, "min_scores: no language is called xx"),
        ({"language": {"min_scores": {"de": 1.5}}}, "language.min_scores.de"),
        ({"language": {"min_score": -0.1}}, "language.min_score"),
        ({"language": {"kept": []}}, "unknown key 'language.kept'"),
        (
            {"rules": {"custom": [{"name": "one", "statistic": "language_share", "comparison": "min", "limit": 0.75}]}},
            "'one' is over language_share: set language.vote = true",
        ),
    ],
)
def test_bad_configs(values, message):
    with pytest.raises(ConfigError, match=message):
        make_config(values)


def test_the_section_decides_bytes():
    assert stage_config(make_config({"language": {"keep": ["en"]}})) != stage_config(PipelineConfig())


ENGLISH = "All human beings are born free and equal in dignity and rights, and should act in a spirit of brotherhood. "
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren und sollen einander brüderlich begegnen. "
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"


def share(batch_of, *paragraphs, between="\n\n"):
    return identify(batch_of(between.join(paragraphs)), VOTE)["language_share"][0].as_py()


def test_one_language_has_all_letters(batch_of, samples):
    assert share(batch_of, *[ENGLISH * 4] * 30) == 1.0
    assert share(batch_of, ENGLISH) == 1.0
    assert share(batch_of, "") == 1.0
    for name in ("eng", "deu_1996", "cmn_hans", "jpn", "rus", "vie", "arb", "swh"):
        text = extract((samples / f"udhr-html/{name}.html").read_text(encoding="utf-8"))
        assert share(batch_of, text) == 1.0, name


@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_a_second_language_takes_its_share(batch_of, between):
    third = share(batch_of, *[ENGLISH * 4, ENGLISH * 4, GERMAN * 4] * 3, between=between)
    assert third == pytest.approx(2 / 3, abs=0.03)
    assert share(batch_of, *[ENGLISH * 8, CHINESE * 8] * 3, between=between) < 0.95
    assert share(batch_of, *[ENGLISH * 4, "12 34 | 56 78 | " * 30] * 3, between=between) == 1.0


def test_mixed_documents_go_by_a_rule_of_the_config(batch_of):
    config = make_config(
        {
            "language": {"vote": True},
            "rules": {
                "sets": [],
                "custom": [{"name": "mixed", "statistic": "language_share", "comparison": "min", "limit": 0.75}],
            },
        }
    )
    mixed = "\n\n".join([ENGLISH * 4, GERMAN * 4] * 3)
    rows = judged(batch_of(mixed, ENGLISH * 20), config)
    assert [row["rule"] for row in rows] == ["custom.mixed", None]
    assert "of letters in one language, at least 0.75 wanted" in rows[0]["detail"]


def test_votes_of_a_batch_are_those_of_single_documents(batch_of):
    texts = ["\n".join([ENGLISH * 3, GERMAN * (turn % 5 + 1)] * (turn % 7)) for turn in range(20)] + ["", "x", None]
    whole = identify(batch_of(*texts), VOTE)["language_share"].to_pylist()
    assert whole == [identify(batch_of(text), VOTE)["language_share"][0].as_py() for text in texts]
    assert whole[-1] is None
    assert min(whole[:-1]) < 0.75


def test_pieces_are_whole_lines_spread_evenly():
    lines = [f"{number:03d} " + "wörter " * 40 for number in range(40)]
    text = "\n".join([*lines, "a short rest"])
    data = np.frombuffer(text.encode(), np.uint8)
    room = len(data) // 200 + 2
    firsts, ends, lengths, letters = np.empty((4, room), np.int64)
    offsets = np.empty(2, np.int64)
    bounds = np.array([0, len(data)])
    kernels.pieces(data, bounds, kinds(), 200, 1000, firsts, ends, lengths, letters, offsets)
    assert offsets.tolist() == [0, 40]
    found = [data[first:end].tobytes().decode() for first, end in zip(firsts[:40], ends[:40], strict=True)]
    assert "".join(found) == text
    assert found[:-1] == [f"{line}\n" for line in lines[:-1]]
    assert lengths[:40].tolist() == [len(piece) for piece in found]
    assert letters[:40].tolist() == [sum(map(str.isalpha, piece)) for piece in found]
    kernels.pieces(data, bounds, kinds(), 200, PIECES, firsts, ends, lengths, letters, offsets)
    chosen = [int(data[first : first + 3].tobytes()) for first in firsts[: offsets[1]]]
    assert chosen == [place * 40 // PIECES for place in range(PIECES)]


def test_slices_vote_as_whole_batches(batch_of):
    batch = batch_of(ENGLISH * 3, "\n".join([ENGLISH * 3, GERMAN * 3] * 9), None, "\n".join([GERMAN * 3] * 9))
    whole = identify(batch, VOTE)["language_share"].to_pylist()
    assert identify(batch.slice(1), VOTE)["language_share"].to_pylist() == whole[1:]
    assert whole[0] == whole[3] == 1.0
    assert whole[1] < 0.75
