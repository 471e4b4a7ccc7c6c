from __future__ import annotations

import math

import pytest
from comparisons import comparison, everything, gap, point
from hyvic_compare.report.views import default_reference, deltas_of, views_from
from hyvic_runtime.codec.seen_scenes import Seen


def test_means_never_mix_scenes_seen_in_training_with_others() -> None:
    views = views_from(everything())
    assert [view.scenes for view in views] == [
        ("field", "coast"),
        ("town <b>", "sea"),
        ("field",),
        ("coast",),
        ("town <b>",),
        ("sea",),
    ]
    main, trained = views[:2]
    assert main.seen_by == ()
    assert not any(series.seen for series in main.series)
    assert trained.seen_by == ("ours",)
    assert (trained.series[0].label, trained.series[0].seen) == ("ours †", True)
    ours = main.series[0].at(10)
    assert ours is not None
    assert ours.psnr_db == 51.0
    assert "† ours trained on them" in trained.label
    assert "† ours trained on it" in views[4].label


def test_a_mean_is_over_all_scenes_or_there_is_none() -> None:
    trained = views_from(everything())[1]
    old = trained.series[1]
    assert old.at(10) is not None
    assert old.at(100) is None


def test_scenes_that_ours_cannot_code_at_all_have_a_mean_of_their_own() -> None:
    measurements = [point(name, "old", ratio, 50 - ratio / 10) for name in "abcd" for ratio in (10.0, 100.0)]
    measurements += [point(name, "ours", 10, 60) for name in "ab"]
    measurements += [gap(name, "ours", ratio, "no wavelengths") for name in "cd" for ratio in (10.0, 100.0)]
    views = views_from(comparison(*measurements, ours=("ours",)))
    assert views[0].scenes == ("a", "b")
    assert views[1].scenes == ("c", "d")
    assert "none can be coded by ours" in views[1].label


def test_a_single_unseen_scene_goes_before_the_mean_of_seen_ones() -> None:
    measurements = [point(name, "ours", 10, 60, training=Seen.NO if name == "c" else Seen.TRAINED) for name in "abc"]
    views = views_from(comparison(*measurements, ours=("ours",)))
    assert [view.scenes for view in views] == [("c",), ("a", "b"), ("a",), ("b",)]


def test_one_stream_asked_for_twice_is_one_point_of_the_curve() -> None:
    views = views_from(comparison(point("a", "x", 10, 40, ratio=100), point("a", "x", 100, 40, ratio=100.05)))
    series = views[0].series[0]
    assert len(series.points) == 2
    assert [p.compression_ratio for p in series.lossy] == [100]


def test_an_exact_point_is_no_point_of_the_curve() -> None:
    exact = views_from(everything())[0].series[2]
    assert exact.lossy == ()
    assert [p.compression_ratio for p in exact.exact] == [2.5]
    assert all(math.isinf(p.psnr_db) for p in exact.exact)


def test_the_reference_is_the_best_codec_that_is_not_ours() -> None:
    compared = everything()
    assert default_reference(compared, views_from(compared)[0]) == "old & good"
    alone = comparison(point("a", "ours", 10, 40), ours=("ours",))
    assert default_reference(alone, views_from(alone)[0]) == "ours"


def test_bd_figures_are_over_what_both_curves_cover_and_lossless_codecs_have_none() -> None:
    (delta,) = deltas_of(views_from(everything())[0], "old & good")
    assert (delta.codec, delta.points, delta.gaps) == ("ours", 2, ())
    assert delta.bd_psnr is not None
    assert (delta.bd_psnr.low, delta.bd_psnr.high) == (10, 100)
    # Lines from 51 to 45 and from 56 to 41 at CR 130: 56 − 15 · 90/120 = 44.75 at CR 100; the mean of −5 and 0.25.
    assert delta.bd_psnr.db == pytest.approx((-5 + 0.25) / 2)
    assert delta.bd_rate is not None
    assert (delta.bd_rate.low_db, delta.bd_rate.high_db) == (45, 51)


def test_a_curve_of_one_point_has_no_bd_figures_and_one_reason() -> None:
    (delta,) = deltas_of(views_from(everything())[1], "old & good")
    assert delta.bd_psnr is None
    assert delta.bd_rate is None
    assert delta.gaps == ("the reference has 1 point; two are needed",)
