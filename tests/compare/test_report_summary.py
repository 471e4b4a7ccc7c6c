from __future__ import annotations

import numpy as np
from comparisons import comparison, everything, gap, point
from hyvic_compare.report.summary import findings, ratios_text
from hyvic_compare.report.views import views_from
from hyvic_compare.results import Comparison
from hyvic_runtime.codec.seen_scenes import Seen


def sentences(compared: Comparison) -> dict[str, str]:
    return dict(findings(compared, views_from(compared)))


def test_the_summary_says_who_wins_where_and_by_how_much() -> None:
    text = sentences(everything())["Who wins"]
    assert text.startswith(
        "On average over the 2 scenes that no codec was trained on: "
        "old & good is best at CR 10, 5.0 dB ahead of the next (best on 2 of 2 scenes); "
        "ours is best at CR 100, 4.0 dB ahead of the next (best on 2 of 2 scenes)."
    )


def test_the_summary_says_where_ours_loses() -> None:
    text = sentences(everything())["ours"]
    assert "It is the best at CR 100." in text
    assert "old & good (below at CR 10 by 5.0 dB, above at CR 100 by 4.0 dB)" in text
    assert "From CR 10 to 100, which both cover, its curve lies on average 2.4 dB below that of old & good." in text


def test_a_codec_that_always_loses_is_said_to_and_how_large_its_error_is() -> None:
    losing = comparison(
        *(point("a", "ours", ratio, 40.0) for ratio in (10.0, 100.0)),
        *(point("a", "old", ratio, 60.0) for ratio in (10.0, 100.0)),
        ours=("ours",),
    )
    text = sentences(losing)["ours"]
    assert "It is the best at no ratio." in text
    assert "It is below old at CR 10 and 100 by 20.0 dB (its typical error is 10.0 times as large)." in text
    assert sentences(losing)["Who wins"].startswith("On the scene a: old is best at CR 10 and 100")


def test_the_summary_counts_what_was_compared_and_what_failed() -> None:
    found = sentences(everything())
    assert found["What was compared"].startswith(
        "3 codecs compressed 4 scenes of AVIRIS (0.0 million samples) 10 and 100 times, and without loss. "
        "Each of the 18 streams"
    )
    assert found["No result"].startswith("2 of 20 runs gave no stream")
    assert found["Without any loss"] == "exact makes files 2.50 times smaller, and gives every sample back exactly."
    assert found["Room left unused"] == "old & good was allowed CR 100 and ended at CR 130: it cannot spend more."
    assert found["Notes"] == "A note."


def test_scenes_seen_in_training_are_told_apart() -> None:
    text = sentences(everything())["Seen in training"]
    assert text.startswith("ours was trained on sea and town <b>: what it does there is marked †")
    trained = comparison(*(point(s, "ours", 10, 60, training=Seen.TRAINED) for s in "ab"), ours=("ours",))
    assert "† It was trained on these scenes; expect less on others." in sentences(trained)["ours"]
    assert "over the 2 scenes that ours trained on" in sentences(trained)["Who wins"]


def test_speed_is_of_a_core() -> None:
    # 240 samples in 240 µs and in 24 µs.
    text = sentences(everything())["Speed"]
    assert "ours encodes fastest, 1 million samples a second and core" in text
    assert "decodes fastest, 10 million" in text


def test_a_comparison_without_any_result_still_has_a_summary() -> None:
    empty = comparison(gap("a", "ours", 10, "no"), gap("a", "ours", 100, "no"), ours=("ours",))
    found = sentences(empty)
    assert found["Who wins"].startswith("No codec reached any of the ratios")
    assert found["ours"] == "It has no result that every scene shares."
    assert found["No result"].startswith("2 of 2 runs")


def test_codecs_that_are_both_exact_have_no_lead() -> None:
    exact = comparison(point("a", "x", 10, np.inf), point("a", "y", 10, np.inf))
    assert sentences(exact)["Who wins"].startswith("On the scene a: x is best at CR 10.")
    one = comparison(point("a", "x", 10, np.inf), point("a", "y", 10, 50))
    assert sentences(one)["Who wins"].startswith("On the scene a: x is best at CR 10.")


def test_a_codec_that_is_exact_on_some_scenes_is_not_called_lossless() -> None:
    some = comparison(point("a", "x", 10, np.inf), point("b", "x", 10, 50))
    assert "Without any loss" not in sentences(some)
    point_of_both = views_from(some)[0].series[0].points[0]
    assert (point_of_both.psnr_db, point_of_both.psnr_text) == (np.inf, "some exact")
    assert "Without any loss" in sentences(comparison(point("a", "x", 10, np.inf), point("b", "x", 10, np.inf)))


def test_a_stream_much_shorter_than_allowed_is_said_to_be() -> None:
    for ratio, said in ((12.0, True), (10.5, False)):
        short = comparison(point("a", "x", 10, 50, ratio=ratio), point("a", "x", 100, 40))
        assert ("Room left unused" in sentences(short)) is said


def test_ratios_are_named_as_a_range_where_none_is_left_out() -> None:
    asked = (8.0, 16.0, 32.0, 1024.0)
    assert ratios_text((8.0, 16.0, 32.0), asked) == "CR 8 to 32"
    assert ratios_text((8.0, 16.0, 1024.0), asked) == "CR 8, 16 and 1,024"
    assert ratios_text((16.0,), asked) == "CR 16"
