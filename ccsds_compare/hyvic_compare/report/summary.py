"""Summary of a comparison in sentences, for people who decide and do not code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
from hyvic_runtime.codec.seen_scenes import Seen

from hyvic_compare.report.views import SEEN_MARK, UNKNOWN_MARK, View, default_reference, deltas_of
from hyvic_compare.results import Comparison

_UNUSED = 1.1
"""A codec whose stream is this many times shorter than allowed cannot use its budget."""


Standings = dict[float, dict[str, float]]
"""PSNR in dB by target and codec, the best codec first; targets that no codec reached are left out."""


def _standings(view: View, ratios: Sequence[float]) -> Standings:
    found = {}
    for ratio in ratios:
        psnr = {series.codec: point.psnr_db for series in view.series if (point := series.at(ratio)) is not None}
        if psnr:
            found[ratio] = dict(sorted(psnr.items(), key=lambda entry: -entry[1]))
    return found


def _best(ranked: Mapping[str, float]) -> str:
    return next(iter(ranked))


def _lead_db(ranked: Mapping[str, float]) -> float | None:
    """Return the lead of the best codec over the next; None if there is one codec alone, or the best is exact."""
    first, *others = ranked.values()
    return first - others[0] if others and math.isfinite(first) else None


def findings(comparison: Comparison, views: Sequence[View]) -> tuple[tuple[str, str], ...]:
    """Return a few sentences on everything that the main view shows, by topic, the most important first."""
    main = views[0]
    table = _standings(main, comparison.ratios)
    singles = [
        _standings(view, comparison.ratios) for view in views if len(view.scenes) == 1 and view.scenes[0] in main.scenes
    ]
    sentences: list[tuple[str, Iterable[str]]] = [
        ("What was compared", [_what_was_done(comparison)]),
        ("Who wins", [*_winners(table, main, singles, comparison.ratios), _PLAIN_DB]),
        *((name, _ours(name, table, main, comparison)) for name in comparison.ours),
        ("Without any loss", _lossless(main)),
        ("Speed", _speed(comparison)),
        ("Room left unused", _unused(comparison, main)),
        ("Seen in training", _trained(comparison)),
        ("No result", _gaps(comparison, main)),
        ("Notes", comparison.notes),
    ]
    return tuple((topic, text) for topic, found in sentences if (text := " ".join(found)))


_PLAIN_DB = "PSNR compares the typical error of a sample with the sensor's range: every 6 dB more halve the error."


def _what_was_done(comparison: Comparison) -> str:
    sensors = sorted({scene.sensor for scene in comparison.scenes if scene.sensor is not None})
    made = sum(m.gap is None for m in comparison.measurements)
    samples = sum(math.prod(scene.shape) for scene in comparison.scenes)
    return (
        f"{count_text(len(comparison.codecs), 'codec')} compressed {count_text(len(comparison.scenes), 'scene')}"
        f"{f' of {words(sensors)}' if sensors else ''} ({samples / 1e6:,.1f} million samples) "
        f"{ratios_text(comparison.ratios, comparison.ratios).removeprefix('CR ')} times"
        f"{', and without loss' if any(m.target_ratio is None for m in comparison.measurements) else ''}. "
        f"Each of the {made:,} streams was decoded again and compared with its original, sample by sample; its size "
        "is that of the real file with everything a decoder needs."
    )


def _winners(table: Standings, main: View, singles: Sequence[Standings], asked: Sequence[float]) -> Iterator[str]:
    if not table:
        yield "No codec reached any of the ratios on every scene."
        return
    yield f"{_whose(main)}:"
    clauses = []
    for codec, run in groupby(table, key=lambda ratio: _best(table[ratio])):
        ratios = list(run)
        leads = [lead for ratio in ratios if (lead := _lead_db(table[ratio])) is not None]
        ahead = f", {_span(leads)} dB ahead of the next" if leads else ""
        if len(main.scenes) > 1:
            won = [sum(ratio in single and _best(single[ratio]) == codec for single in singles) for ratio in ratios]
            ahead += f" (best on {_range(won)} of {len(main.scenes)} scenes)"
        clauses.append(f"{codec} is best at {ratios_text(ratios, asked)}{ahead}")
    yield "; ".join(clauses) + "."


def _whose(main: View) -> str:
    if len(main.scenes) == 1:
        return f"On the scene {main.scenes[0]}"
    trained = "that no codec was trained on"
    if main.seen_by:
        trained = f"that {words(main.seen_by)} trained on"
    elif main.unknown_by:
        trained = f"that {words(main.unknown_by)} may have been trained on"
    return f"On average over the {len(main.scenes)} scenes {trained}"


def _ours(name: str, table: Standings, main: View, comparison: Comparison) -> Iterator[str]:
    """Say where one of our codecs wins and loses, against which codecs and by how much."""
    present = {ratio: ranked for ratio, ranked in table.items() if name in ranked}
    asked = comparison.ratios
    if not present:
        yield "It has no result that every scene shares."
        return
    best = [ratio for ratio, ranked in present.items() if _best(ranked) == name]
    yield f"It is the best at {ratios_text(best, asked)}." if best else "It is the best at no ratio."

    def by(gaps: Mapping[float, float]) -> str:
        return f"at {ratios_text(list(gaps), asked)} by {_span(list(gaps.values()))} dB"

    clauses: dict[str, list[str]] = {"below": [], "now below, now above": [], "above": []}
    for rival in (series.codec for series in main.series if series.codec != name):
        gaps = {ratio: ranked[rival] - ranked[name] for ratio, ranked in present.items() if rival in ranked}
        better = {ratio: gap for ratio, gap in gaps.items() if math.isfinite(gap) and gap > 0}
        worse = {ratio: -gap for ratio, gap in gaps.items() if math.isfinite(gap) and gap < 0}
        if better and worse:
            clauses["now below, now above"].append(f"{rival} (below {by(better)}, above {by(worse)})")
        elif better:
            times = _span([10 ** (gap / 20) for gap in better.values()])
            clauses["below"].append(f"{rival} {by(better)} (its typical error is {times} times as large)")
        elif worse:
            clauses["above"].append(f"{rival} {by(worse)}")
    for side, texts in clauses.items():
        if texts:
            yield f"It is {side} {'; '.join(texts)}."
    reference = default_reference(comparison, main)
    deltas = {delta.codec: delta.bd_psnr for delta in deltas_of(main, reference)}
    if (delta := deltas.get(name)) is not None:
        side = "above" if delta.db > 0 else "below"
        yield (
            f"From CR {ratio_text(delta.low)} to {ratio_text(delta.high)}, which both cover, its curve lies on average "
            f"{abs(delta.db):.1f} dB {side} that of {reference}."
        )
    absent = [ratio for ratio in table if ratio not in present]
    if absent:
        yield f"It gives no stream for one scene or more at {ratios_text(absent, asked)}."
    if name in main.seen_by:
        yield f"{SEEN_MARK} It was trained on these scenes; expect less on others."
    if name in main.unknown_by:
        yield f"{UNKNOWN_MARK} Whether it was trained on these scenes is unknown; it may do worse on others."


def _lossless(main: View) -> Iterator[str]:
    exact = [(series.codec, point.compression_ratio) for series in main.series for point in series.exact]
    if exact:
        codec, ratio = max(exact, key=lambda entry: entry[1])
        among = f", the most of {len(exact)} lossless codecs" if len(exact) > 1 else ""
        yield f"{codec} makes files {ratio:.2f} times smaller{among}, and gives every sample back exactly."


def _speed(comparison: Comparison) -> Iterator[str]:
    rates = {codec: throughput(comparison, codec) for codec in comparison.codecs}
    known = {codec: rate for codec, rate in rates.items() if rate is not None}
    if len(known) < 2:
        return
    for n, verb in enumerate(("encodes", "decodes")):
        ranked = sorted(known.items(), key=lambda entry: -entry[1][n])
        (fast, best), (slow, worst) = ranked[0], ranked[-1]
        ours = [f", {codec} {rate_text(known[codec][n])}" for codec in comparison.ours if codec not in (fast, slow)]
        yield (
            f"{fast} {verb} fastest, {rate_text(best[n])} million samples a second and core{''.join(ours)}; "
            f"{slow} is the slowest with {rate_text(worst[n])}."
        )


def throughput(comparison: Comparison, codec: str) -> tuple[float, float] | None:
    """Return encoded and decoded MSamples a second and core: medians over all scenes and targets."""
    samples = {scene.name: math.prod(scene.shape) for scene in comparison.scenes}
    found = [(samples[m.scene], m.cost) for m in comparison.measurements if m.codec == codec and m.cost is not None]
    if not found:
        return None
    encode, decode = (
        float(np.median([count / 1e6 / max(getattr(cost, name), 1e-9) for count, cost in found]))
        for name in ("encode_s", "decode_s")
    )
    return encode, decode


def _unused(comparison: Comparison, main: View) -> Iterator[str]:
    """Name codecs that cannot use the budget of a low ratio, so that their curve says nothing there."""
    for series in main.series:
        wasted = [
            (point.target_ratio, point.compression_ratio)
            for point in series.points
            if point.target_ratio is not None and point.compression_ratio > _UNUSED * point.target_ratio
        ]
        if wasted:
            wanted = ratios_text(sorted(ratio for ratio, _ in wasted), comparison.ratios)
            got = [ratio for _, ratio in wasted]
            reached = ratio_text(min(got)) if max(got) < 1.02 * min(got) else f"{min(got):.0f} to {max(got):.0f}"
            yield f"{series.codec} was allowed {wanted} and ended at CR {reached}: it cannot spend more."


def _trained(comparison: Comparison) -> Iterator[str]:
    for codec in comparison.codecs:
        parts = {m.scene: m.training for m in comparison.measurements if m.codec == codec}
        named = {part: _scenes_text([s for s, found in parts.items() if found is part]) for part in Seen}
        if names := named[Seen.TRAINED]:
            yield (
                f"{codec} was trained on {names}: what it does there is marked {SEEN_MARK}, "
                "and no mean mixes it with other scenes."
            )
        if names := named[Seen.UNKNOWN]:
            yield f"Whether {codec} was trained on {names} is unknown: what it does there is marked {UNKNOWN_MARK}."
        if names := named[Seen.MEASURED]:
            yield f"{codec} was measured on {names} during its training, and not trained on it."


def _scenes_text(scenes: Sequence[str]) -> str:
    return words(sorted(scenes)) if len(scenes) <= 4 else count_text(len(scenes), "scene")


def _gaps(comparison: Comparison, main: View) -> Iterator[str]:
    gaps = sum(m.gap is not None for m in comparison.measurements)
    if gaps:
        yield f"{gaps:,} of {len(comparison.measurements):,} runs gave no stream; a table below says why."
        partial = [s.codec for s in main.series if len({m.target_ratio for m in s.measurements}) > len(s.points)]
        if partial and len(main.scenes) > 1:
            yield f"A mean needs every scene, so it has fewer points than single scenes of {words(partial)}."


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count_text(1, "scene"), count_text(1200, "scene")
    ('1 scene', '1,200 scenes')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ratio_text(ratio: float) -> str:
    """Return a compression ratio for people."""
    return f"{ratio:,.0f}" if ratio >= 20 or ratio == int(ratio) else f"{ratio:.1f}"


def ratios_text(ratios: Sequence[float], asked: Sequence[float]) -> str:
    """Return ratios for people, as a range if no target between is left out.

    >>> ratios_text([16, 64], [16, 32, 64]), ratios_text([16, 32, 64], [16, 32, 64])
    ('CR 16 and 64', 'CR 16 to 64')
    """
    start = asked.index(ratios[0])
    if len(ratios) > 2 and list(ratios) == list(asked[start : start + len(ratios)]):
        return f"CR {ratio_text(ratios[0])} to {ratio_text(ratios[-1])}"
    return f"CR {words([ratio_text(ratio) for ratio in ratios])}"


def rate_text(rate: float) -> str:
    """Return MSamples a second for people."""
    return f"{rate:.2g}" if rate < 10 else f"{rate:,.0f}"


def words(items: Sequence[str]) -> str:
    """Join words.

    >>> words(["a", "b", "c"])
    'a, b and c'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def _range(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
