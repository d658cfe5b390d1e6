"""The Markdown tables of docs/results.md, from the lines of benchmarks/results.jsonl."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .plan import STUDIES
from .rows import ALONE

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "results.md", DOCS / "training.md", DOCS / "notes" / "results.md"]
PRICES = ("davies2018", "sanafe2025", "kerasspiking")  # the lists for Loihi chips; docs/energy.md
Line = dict[str, Any]


def percent_of(value: float) -> float:
    """Return a share in percent."""
    return 100 * value


def spread(values: Sequence[float], form: str) -> str:
    """Return mean and standard deviation over seeds."""
    mean = form.format(statistics.mean(values))
    return f"{mean} ± {form.format(statistics.stdev(values)).replace('+', '')}" if len(values) > 1 else mean


def column(value: Callable[[Line], float], form: str) -> Callable[[Sequence[Line]], str]:
    """Return what writes the cell of a row: the spread of a value of its lines."""
    return lambda lines: spread([value(r) for r in lines], form)


def energy(lines: Sequence[Line]) -> str:
    """Return the lowest and the highest price of an inference by the lists for Loihi, microjoules, means over seeds."""
    low = [min(r["energy"][name][0] for name in PRICES) for r in lines]
    high = [max(r["energy"][name][1] for name in PRICES) for r in lines]
    return f"{1e6 * statistics.mean(low):.2g} to {1e6 * statistics.mean(high):.2g}"


COLUMNS: dict[str, Callable[[Sequence[Line]], str]] = {
    "test, %": column(lambda r: percent_of(r["test"]), "{:.2f}"),
    "synapses stored": column(lambda r: r["synapses"], "{:,.0f}"),
    "absent, %": column(lambda r: percent_of(r["connection_sparsity"]), "{:.1f}"),
    "compression, %": column(lambda r: percent_of(r["compression"]), "{:.1f}"),
    "hidden units kept, %": column(lambda r: percent_of(r["units_kept"] / max(1, r["units"])), "{:.0f}"),
    "cores": column(lambda r: r["cores"] or float("nan"), "{:.0f}"),
    "synaptic operations": column(lambda r: r["synaptic_operations"], "{:,.0f}"),
    "energy, µJ": energy,
}
SIZE = ("synapses stored", "cores", "synaptic operations", "energy, µJ")


def cells_of(names: Iterable[str], lines: Sequence[Line]) -> list[str]:
    """Return the cells of some of COLUMNS."""
    return [COLUMNS[name](lines) for name in names]


def seeds(lines: Sequence[Line]) -> str:
    """Return the seeds of lines as text."""
    numbers = sorted(int(r["seed"]) for r in lines)
    full = len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if full else ", ".join(map(str, numbers))


def study_table(names: Sequence[str], lines: Sequence[Line]) -> str:
    """Return the table of studies of one data set: a row per line of the plan that was run."""
    dense = {r["seed"]: r["test"] for r in lines if r["study"] == names[0] and r["row"] == "dense"}
    head = ["row", "seeds", "against dense, points", *COLUMNS]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    used = []
    for name in names:
        for row in STUDIES[name].rows:
            own = [r for r in lines if r["study"] == name and r["row"] == row]
            if not own:
                continue
            used += own
            against = [percent_of(r["test"] - dense[r["seed"]]) for r in own if r["seed"] in dense]
            cells = [row, seeds(own), "-" if row == "dense" or not against else spread(against, "{:+.2f}")]
            rows.append(f"| {' | '.join([*cells, *cells_of(COLUMNS, own)])} |")
    if not used:
        return "Not run yet."
    one = used[0]
    facts = f"{one['machine']}; {one['epochs']} epochs; {one['test_samples']:,} test samples; metric {one['metric']}"
    return "\n".join([*rows, "", footer(used, facts, names)])


def footer(used: Sequence[Line], facts: str, names: Sequence[str]) -> str:
    """Return the line below a table: dates, facts, the comparison of bins, and the command that repeats the runs."""
    dates = ", ".join(sorted({r["date"] for r in used}))
    bins, differ = (sum(r[key] for r in used) for key in ("bins_compared", "bins_differ"))
    agree = f"SLAYER, masked and compacted networks: {differ:,} of {bins:,} bins differ."
    command = " ".join(f'"{name}"' if " " in name else name for name in names)
    return f"{dates}; {facts}. {agree} `python benchmarks/results.py --run {command}`"


LAST = 4  # epochs over which validation is averaged


def adaptive_table(lines: Sequence[Line]) -> str:
    """Return what mode adaptive chose in every study "adaptive NAME", beside the network that it began with."""
    head = ["data set", "seeds", "validation, dense", "adaptive, points", "test, dense", "adaptive, points"]
    measured = ("absent, %", *SIZE)
    head += measured
    rows, used = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"], []
    for study in STUDIES:
        own = {(r["row"], r["seed"]): r for r in lines if r["study"] == study and study.startswith("adaptive ")}
        for row in STUDIES[study].rows:
            chosen = [r for (name, _), r in own.items() if name == row != "dense"]
            if not chosen:
                continue
            dense = [own["dense", r["seed"]] for r in chosen]
            used += [*(r for r in dense if r not in used), *chosen]
            cells = [study.removeprefix("adaptive ") + row.removeprefix("adaptive"), seeds(chosen)]
            for value in (last_validation, lambda r: r["test"]):
                pairs = [(percent_of(value(a)), percent_of(value(b))) for a, b in zip(dense, chosen, strict=True)]
                cells += [spread([a for a, _ in pairs], "{:.2f}"), spread([b - a for a, b in pairs], "{:+.2f}")]
            rows.append(f"| {' | '.join([*cells, *cells_of(measured, chosen)])} |")
    if not used:
        return "Not run yet."
    facts = f"{used[0]['machine']}; accuracy in percent; validation: mean of the last {LAST} epochs; test: last epoch"
    return "\n".join([*rows, "", footer(used, facts, ["adaptive *"])])


def last_validation(line: Line) -> float:
    """Return mean accuracy on validation in the last epochs."""
    return statistics.mean(line["curve"]["validation_accuracy"][-LAST:])


SHOWN = ("accuracy", "f1", "rmse", "r2", "van_rossum", "spike_time_error")  # metrics of the table of tasks


def task_table(lines: Sequence[Line]) -> str:
    """Return the metrics of every recipe that is a study "task NAME", dense and developed."""
    head = ["recipe", "network", "seeds", "metrics of the test split", *SIZE, "silent", "bins compared, differing"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    used: list[Line] = []
    for study in STUDIES:
        for row in STUDIES[study].rows if study.startswith("task ") else ():
            own = [r for r in lines if r["study"] == study and r["row"] == row]
            if not own:
                continue
            used += own
            names = [name for name in SHOWN if name in own[0]["scores"]]
            metrics = ", ".join(
                f"{name.replace('_', ' ')} {spread([r['scores'][name] for r in own], '{:.3f}')}" for name in names
            )
            silent = sum(r["silent"] for r in own) / max(1, sum(r["test_answers"] for r in own))
            cells = [
                study.removeprefix("task "),
                row,
                seeds(own),
                metrics,
                *cells_of(SIZE, own),
            ]
            cells += [
                f"{silent:.1%}",
                f"{sum(r['bins_compared'] for r in own):,}, {sum(r['bins_differ'] for r in own)}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    dates = ", ".join(sorted({r["date"] for r in used}))
    return "\n".join([*rows, "", f'{dates}; last epoch of each run. `python benchmarks/results.py --run "task *"`'])


def chip_table(lines: Sequence[Line]) -> str:
    """Return the rows of every study "chip NAME": what ends within limits of a chip, by cost and by magnitude alone."""
    head = ["study", "limit", "chosen", "seeds", "test, %", "points", "cores", "busiest, events/step"]
    head += ["nJ/step", "us/step", "synapses stored", "synaptic operations"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    used: list[Line] = []
    for study in STUDIES:
        for row in STUDIES[study].rows if study.startswith("chip ") else ():
            own = [r for r in lines if r["study"] == study and r["row"] == row]
            if not own:
                continue
            used += own
            limit, chosen = row.split(": ")
            alone = {r["seed"]: r["test"] for r in lines if (r["study"], r["row"]) == (study, f"{limit}: {ALONE}")}
            against = [percent_of(r["test"] - alone[r["seed"]]) for r in own if r["seed"] in alone]
            steps = {key: [r["step"][key] for r in own] for key in ("busiest", "joules", "seconds")}
            cells = [study.removeprefix("chip "), limit, chosen, seeds(own)]
            cells += cells_of(["test, %"], own)
            cells += ["-" if chosen == ALONE or not against else spread(against, "{:+.2f}")]
            cells += [*cells_of(["cores"], own), spread(steps["busiest"], "{:,.0f}")]
            cells += [spread([1e9 * each for each in steps["joules"]], "{:,.1f}")]
            cells += [spread([1e6 * each for each in steps["seconds"]], "{:,.2f}")]
            rows.append(f"| {' | '.join([*cells, *cells_of(['synapses stored', 'synaptic operations'], own)])} |")
    if not used:
        return "Not run yet."
    return "\n".join([*rows, "", footer(used, "last epoch of each run", ["chip *"])])


def write(lines: Sequence[Line], page: Path) -> None:
    """Replace what stands between the marks `<!-- table NAMES -->` and `<!-- end -->` of the page."""
    own = [r for r in lines if "study" in r]

    def table(match: re.Match[str]) -> str:
        names = match[1].split(", ")
        special = {"adaptive": adaptive_table, "tasks": task_table, "chip": chip_table}.get(match[1])
        text = study_table(names, own) if special is None else special(own)
        return f"<!-- table {match[1]} -->\n{text}\n<!-- end -->"

    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub(r"<!-- table (.*?) -->.*?<!-- end -->", table, text, flags=re.DOTALL), encoding="utf-8")
