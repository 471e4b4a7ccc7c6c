"""Summary of a comparison in sentences, for people who decide and do not code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from hyvic_compare.report.views import SEEN_MARK, View, default_reference, deltas_of
from hyvic_compare.results import Comparison

_UNUSED = 1.1
"""A codec whose stream is this many times shorter than allowed cannot use its budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One or a few sentences on a topic.

    Attributes:
        topic: two or three words.
        text: sentences.
    """

    topic: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Order of the codecs at one target.

    Attributes:
        ratio: target ratio.
        ranked: codecs and PSNR in dB, the best first.
    """

    ratio: float
    ranked: tuple[tuple[str, float], ...]

    @property
    def lead_db(self) -> float | None:
        """Lead of the best codec over the next; None if there is one codec alone, or the best is exact."""
        if len(self.ranked) < 2 or not math.isfinite(self.ranked[0][1]):
            return None
        return self.ranked[0][1] - self.ranked[1][1]


def standings(view: View, ratios: Sequence[float]) -> tuple[Standing, ...]:
    """Return the standings by target; targets that no codec reached are left out."""
    found = []
    for ratio in ratios:
        points = [(series.codec, series.at(ratio)) for series in view.series]
        ranked = sorted(
            ((codec, point.psnr_db) for codec, point in points if point is not None), key=lambda entry: -entry[1]
        )
        if ranked:
            found.append(Standing(ratio=ratio, ranked=tuple(ranked)))
    return tuple(found)


def findings(comparison: Comparison, views: Sequence[View]) -> tuple[Finding, ...]:
    """Return everything that the main view shows, the most important first."""
    main = views[0]
    table = standings(main, comparison.ratios)
    singles = {view.scenes[0]: standings(view, comparison.ratios) for view in views if len(view.scenes) == 1}
    singles = {name: singles[name] for name in main.scenes}
    return (
        _what_was_done(comparison),
        Finding(topic="Who wins", text=" ".join([*_winners(table, main, singles, comparison.ratios), _PLAIN_DB])),
        *(Finding(topic=name, text=" ".join(_ours(name, table, main, comparison))) for name in comparison.ours),
        *_optional("Without any loss", _lossless(main)),
        *_optional("Speed", _speed(comparison)),
        *_optional("Room left unused", _unused(comparison, main)),
        *_optional("Seen in training", _trained(comparison)),
        *_optional("No result", _gaps(comparison, main)),
        *_optional("Notes", comparison.notes),
    )


_PLAIN_DB = "PSNR compares the typical error of a sample with the sensor's range: every 6 dB more halve the error."


def _optional(topic: str, sentences: Iterable[str]) -> Iterator[Finding]:
    if text := " ".join(sentences):
        yield Finding(topic=topic, text=text)


def _what_was_done(comparison: Comparison) -> Finding:
    sensors = sorted({scene.sensor for scene in comparison.scenes if scene.sensor is not None})
    made = sum(m.gap is None for m in comparison.measurements)
    samples = sum(math.prod(scene.shape) for scene in comparison.scenes)
    text = (
        f"{count_text(len(comparison.codecs), 'codec')} compressed {count_text(len(comparison.scenes), 'scene')}"
        f"{f' of {words(sensors)}' if sensors else ''} ({samples / 1e6:,.1f} million samples) "
        f"{ratios_text(comparison.ratios, comparison.ratios).removeprefix('CR ')} times"
        f"{', and without loss' if any(m.target_ratio is None for m in comparison.measurements) else ''}. "
        f"Each of the {made:,} streams was decoded again and compared with its original, sample by sample; its size "
        "is that of the real file with everything a decoder needs."
    )
    return Finding(topic="What was compared", text=text)


def _winners(
    table: Sequence[Standing], main: View, singles: dict[str, tuple[Standing, ...]], asked: Sequence[float]
) -> Iterator[str]:
    if not table:
        yield "No codec reached any of the ratios on every scene."
        return
    yield f"{_whose(main)}:"
    runs = [(codec, list(run)) for codec, run in groupby(table, key=lambda standing: standing.ranked[0][0])]
    clauses = []
    for codec, run in runs:
        leads = [standing.lead_db for standing in run if standing.lead_db is not None]
        ahead = f", {_span(leads)} dB ahead of the next" if leads else ""
        where = ratios_text([standing.ratio for standing in run], asked)
        if len(main.scenes) > 1:
            won = [_wins(codec, standing.ratio, singles) for standing in run]
            ahead += f" (best on {_range(won)} of {len(main.scenes)} scenes)"
        clauses.append(f"{codec} is best at {where}{ahead}")
    yield "; ".join(clauses) + "."


def _whose(main: View) -> str:
    if len(main.scenes) == 1:
        return f"On the scene {main.scenes[0]}"
    trained = f"that {words(main.seen_by)} trained on" if main.seen_by else "that no codec was trained on"
    return f"On average over the {len(main.scenes)} scenes {trained}"


def _wins(codec: str, ratio: float, singles: dict[str, tuple[Standing, ...]]) -> int:
    return sum(
        standing.ratio == ratio and standing.ranked[0][0] == codec for table in singles.values() for standing in table
    )


def _ours(name: str, table: Sequence[Standing], main: View, comparison: Comparison) -> Iterator[str]:
    """Say where one of our codecs wins and loses, against which codecs and by how much."""
    present = [standing for standing in table if name in dict(standing.ranked)]
    if not present:
        yield "It has no result that every scene shares."
        return
    best = [standing.ratio for standing in present if standing.ranked[0][0] == name]
    yield f"It is the best at {ratios_text(best, comparison.ratios)}." if best else "It is the best at no ratio."
    rivals = [_rival(name, series.codec, present) for series in main.series if series.codec != name]
    asked = comparison.ratios
    for verb, clauses in (
        ("It is below", [r.clause(r.better, asked) for r in rivals if r.better and not r.worse]),
        ("It is now below, now above", [r.both(asked) for r in rivals if r.better and r.worse]),
        ("It is above", [r.clause(r.worse, asked) for r in rivals if r.worse and not r.better]),
    ):
        if clauses:
            yield f"{verb} {'; '.join(clauses)}."
    reference = default_reference(comparison, main)
    deltas = {delta.codec: delta.bd_psnr for delta in deltas_of(main, reference)}
    if (delta := deltas.get(name)) is not None:
        side = "above" if delta.db > 0 else "below"
        yield (
            f"From CR {ratio_text(delta.low)} to {ratio_text(delta.high)}, which both cover, its curve lies on average "
            f"{abs(delta.db):.1f} dB {side} that of {reference}."
        )
    absent = [standing.ratio for standing in table if standing not in present]
    if absent:
        yield f"It gives no stream for one scene or more at {ratios_text(absent, asked)}."
    if name in main.seen_by:
        yield f"{SEEN_MARK} It was trained on these scenes; expect less on others."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rival:
    """Another codec compared with one of ours.

    Attributes:
        codec: name of the other codec.
        better: ratios at which the other codec is better, with positive gaps in dB.
        worse: ratios at which the other codec is worse, with positive gaps in dB.
    """

    codec: str
    better: tuple[tuple[float, float], ...]
    worse: tuple[tuple[float, float], ...]

    def clause(self, gaps: Sequence[tuple[float, float]], asked: Sequence[float]) -> str:
        text = f"{self.codec} at {ratios_text([ratio for ratio, _ in gaps], asked)} by {_span([g for _, g in gaps])} dB"
        if gaps is self.better:
            text += f" (its typical error is {_span([10 ** (gap / 20) for _, gap in gaps])} times as large)"
        return text

    def both(self, asked: Sequence[float]) -> str:
        below, above = (
            f"{side} at {ratios_text([ratio for ratio, _ in gaps], asked)} by {_span([gap for _, gap in gaps])} dB"
            for side, gaps in (("below", self.better), ("above", self.worse))
        )
        return f"{self.codec} ({below}, {above})"


def _rival(name: str, codec: str, table: Sequence[Standing]) -> _Rival:
    gaps = [
        (standing.ratio, ranked[codec] - ranked[name])
        for standing in table
        for ranked in (dict(standing.ranked),)
        if codec in ranked and math.isfinite(ranked[codec]) and math.isfinite(ranked[name])
    ]
    return _Rival(
        codec=codec,
        better=tuple((ratio, gap) for ratio, gap in gaps if gap > 0),
        worse=tuple((ratio, -gap) for ratio, gap in gaps if gap < 0),
    )


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
        seen = {m.scene for m in comparison.measurements if m.codec == codec and m.seen}
        if seen:
            names = words(sorted(seen)) if len(seen) <= 4 else count_text(len(seen), "scene")
            yield (
                f"{codec} was trained on {names}: what it does there is marked {SEEN_MARK}, "
                "and no mean mixes it with other scenes."
            )


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
