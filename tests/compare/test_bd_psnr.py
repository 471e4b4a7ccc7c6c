from __future__ import annotations

import bjontegaard
import numpy as np
import pytest
from hyvic_compare.bd_psnr import Curve, CurveGapError, bd_psnr, bd_rate, interpolate

RATIOS = (20.0, 31.0, 74.0, 160.0, 300.0)
PSNR_DB = (52.0, 50.5, 46.0, 43.5, 41.0)


def test_an_offset_of_one_db_is_one_db() -> None:
    better = Curve(ratios=RATIOS, psnr_db=tuple(p + 1 for p in PSNR_DB))
    result = bd_psnr(better, Curve(ratios=RATIOS, psnr_db=PSNR_DB))
    assert result.db == pytest.approx(1.0, abs=1e-12)
    assert (result.low, result.high) == (20, 300)
    assert bd_psnr(better, better).db == 0


def test_lines_are_interpolated_exactly_and_compared_where_both_exist() -> None:
    # Akima reproduces straight lines: 60 − CR/10 against 50 − CR/20 differ by 10 − CR/20.
    a = Curve(ratios=(10, 25, 60, 90, 100), psnr_db=tuple(60 - r / 10 for r in (10, 25, 60, 90, 100)))
    b = Curve(ratios=(40, 50, 70, 200), psnr_db=tuple(50 - r / 20 for r in (40, 50, 70, 200)))
    result = bd_psnr(a, b)
    assert (result.low, result.high) == (40, 100)
    assert result.db == pytest.approx(10 - 70 / 20, abs=1e-12)
    assert bd_psnr(b, a).db == pytest.approx(-result.db, abs=1e-12)


def test_the_axis_is_cr_and_not_its_logarithm() -> None:
    # A line in CR against a flat reference: over log CR its mean would be 2.05 dB, not half its rise.
    flat = Curve(ratios=(1, 100), psnr_db=(40, 40))
    slope = Curve(ratios=(1, 100), psnr_db=(40, 49.9))
    assert bd_psnr(slope, flat).db == pytest.approx(9.9 / 2, abs=1e-12)


def test_over_log_cr_every_doubling_counts_alike() -> None:
    # 0 dB at CR 1, 3 dB at CR 8, a line in log CR: the mean is 1.5 dB, over CR itself it would be more.
    rising = Curve(ratios=(1, 2, 4, 8), psnr_db=(40, 41, 42, 43))
    flat = Curve(ratios=(1, 8), psnr_db=(40, 40))
    over_log = bd_psnr(rising, flat, "log-cr")
    assert over_log.db == pytest.approx(1.5, abs=1e-12)
    assert (over_log.low, over_log.high) == (1, 8)
    assert bd_psnr(rising, flat).db > 1.75
    assert interpolate(rising, [2**1.5], "log-cr") == pytest.approx([41.5], abs=1e-12)


def test_akima_worked_by_hand() -> None:
    # Slopes 0 0 1 2 2. By Akima (1970), eq. 1, the tangent at 3 is (|2 − 1|·0 + |0 − 0|·1) / (|2 − 1| + |0 − 0|) = 0
    # and at 4 (|2 − 2|·1 + |1 − 0|·2) / (|2 − 2| + |1 − 0|) = 2. The Hermite cubic on [3, 4] with values 0, 1 and
    # tangents 0, 2 is u², whose integral is 1/3.
    curve = Curve(ratios=(1, 2, 3, 4, 5, 6), psnr_db=(0, 0, 0, 1, 3, 5))
    zero = Curve(ratios=(3, 4), psnr_db=(0, 0))
    assert bd_psnr(curve, zero).db == pytest.approx(1 / 3, abs=1e-12)
    assert interpolate(curve, [3.5]) == pytest.approx([0.25])


def test_the_bjontegaard_package_agrees_where_definitions_coincide() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        ratios = [tuple(np.sort(rng.uniform(1, 250, 6))) for _ in range(2)]
        curves = [Curve(ratios=r, psnr_db=tuple(rng.uniform(30, 60, 6))) for r in ratios]
        # Its axis is log10 of what it is given: 10^CR makes that our axis.
        rates = [np.power(10.0, curve.ratios) for curve in curves]
        theirs = bjontegaard.bd_psnr(
            rates[1], curves[1].psnr_db, rates[0], curves[0].psnr_db, method="akima", min_overlap=0
        )
        assert bd_psnr(*curves).db == pytest.approx(theirs, abs=1e-9)


def test_the_bjontegaard_package_agrees_over_log_cr_as_it_stands() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        curves = [
            Curve(ratios=tuple(np.sort(rng.uniform(8, 4000, 6))), psnr_db=tuple(rng.uniform(30, 60, 6)))
            for _ in range(2)
        ]
        # Its rates ascend; a rate is N_b over the ratio.
        (ours, ours_db), (theirs, theirs_db) = [
            ([16 / ratio for ratio in curve.ratios[::-1]], curve.psnr_db[::-1]) for curve in curves
        ]
        expected = bjontegaard.bd_psnr(theirs, theirs_db, ours, ours_db, method="akima", min_overlap=0)
        assert bd_psnr(*curves, "log-cr").db == pytest.approx(expected, abs=1e-9)


def test_two_points_make_a_line_and_one_makes_no_range() -> None:
    line = Curve(ratios=(10, 30), psnr_db=(50, 40))
    assert interpolate(line, [20]) == pytest.approx([45])
    assert bd_psnr(line, Curve(ratios=(10, 20, 30), psnr_db=(44, 44, 44))).db == pytest.approx(1)
    with pytest.raises(CurveGapError, match="the curve has 1 point; two are needed"):
        bd_psnr(Curve(ratios=(10,), psnr_db=(50,)), line)
    with pytest.raises(CurveGapError, match="the reference has 1 point"):
        bd_psnr(line, Curve(ratios=(10,), psnr_db=(50,)))


def test_curves_apart_are_a_gap_with_its_reason() -> None:
    line = Curve(ratios=(10, 30), psnr_db=(50, 40))
    with pytest.raises(CurveGapError, match="no common range: CR 30 to 40 against 10 to 30"):
        bd_psnr(Curve(ratios=(30, 40), psnr_db=(40, 39)), line)
    with pytest.raises(CurveGapError, match="the curve has two points at one compression ratio"):
        bd_psnr(Curve(ratios=(10, 10, 30), psnr_db=(50, 49, 40)), line)


def test_half_the_octets_at_every_psnr_are_minus_fifty_percent() -> None:
    better = Curve(ratios=tuple(2 * r for r in RATIOS), psnr_db=PSNR_DB)
    reference = Curve(ratios=RATIOS, psnr_db=PSNR_DB)
    result = bd_rate(better, reference)
    assert result.percent == pytest.approx(-50, abs=1e-9)
    assert (result.low_db, result.high_db) == (41, 52)
    assert bd_rate(reference, better).percent == pytest.approx(100, abs=1e-9)
    assert bd_rate(better, better).percent == 0


def test_bd_rate_of_lines_in_the_logarithm_of_the_rate() -> None:
    line = Curve(ratios=(10, 100, 1000), psnr_db=(60, 50, 40))
    shifted = Curve(ratios=(10**0.5 * 10, 10**0.5 * 100), psnr_db=(55, 45))
    # At 55 dB the line has CR 10^1.5, at 45 dB 10^2.5: the same points, so the same rates.
    assert bd_rate(line, shifted).percent == pytest.approx(0, abs=1e-9)
    steeper = Curve(ratios=(10, 1000), psnr_db=(60, 50))
    # Over 50 … 60 dB log10 CR is 1 … 2 of the line and 1 … 3 of this one: 10^(1.5 − 2) of the rate on average.
    assert bd_rate(steeper, line).percent == pytest.approx(100 * (10**-0.5 - 1), abs=1e-9)


def test_the_bjontegaard_package_agrees_on_bd_rate() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        curves = [
            Curve(ratios=tuple(np.sort(rng.uniform(8, 1024, 6))), psnr_db=tuple(np.sort(rng.uniform(30, 60, 6))[::-1]))
            for _ in range(2)
        ]
        # Its rates ascend.
        (ours, ours_db), (theirs, theirs_db) = [
            ([16 / ratio for ratio in curve.ratios[::-1]], curve.psnr_db[::-1]) for curve in curves
        ]
        expected = bjontegaard.bd_rate(theirs, theirs_db, ours, ours_db, method="akima", min_overlap=0)
        assert bd_rate(*curves).percent == pytest.approx(expected, abs=1e-9)


def test_a_curve_that_rises_or_lies_apart_has_no_bd_rate() -> None:
    line = Curve(ratios=(10, 30), psnr_db=(50, 40))
    with pytest.raises(CurveGapError, match="the PSNR of the curve does not fall"):
        bd_rate(Curve(ratios=(10, 20, 30), psnr_db=(50, 51, 40)), line)
    with pytest.raises(CurveGapError, match="no common range: PSNR 20 to 30 against 40 to 50"):
        bd_rate(Curve(ratios=(10, 30), psnr_db=(30, 20)), line)
    with pytest.raises(CurveGapError, match="the reference has 1 point; two are needed"):
        bd_rate(line, Curve(ratios=(10,), psnr_db=(50,)))
