import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from maskconver_mobile.benchmarks.host.operator_times import Operator, Profile
from maskconver_mobile.benchmarks.host.stages import STAGES
from maskconver_mobile.benchmarks.report import compare, svg
from maskconver_mobile.benchmarks.report import page as report
from maskconver_mobile.benchmarks.report.results import Machine, Report, Result
from maskconver_mobile.benchmarks.report.spread import by_photo
from maskconver_mobile.benchmarks.report.stats import Ratio, Statistics, summarize
from maskconver_mobile.cli.benchmark import command
from maskconver_mobile.errors import MaskConverError


def make_report(milliseconds: float = 10.0, **machine: object) -> Report:
    """Two models on two photographs, of which the second takes twice as long."""
    samples = tuple((milliseconds + 0.1 * (i % 5)) * (1 + i % 2) for i in range(20))
    stages = dict.fromkeys(STAGES, 1.0)
    photos = tuple(replace(photo, stages=stages) for photo in by_photo(["a.jpg", "b<.jpg"], samples))
    result = Result(
        machine="host",
        model="models/a.tflite",
        sha256="0" * 64,
        size_bytes=1 << 20,
        runtime="litert",
        runner="worker",
        threads=2,
        invoke=summarize(samples),
        input_size=(256, 256),
        samples_ms=samples,
        photos=photos,
        peak_rss_kib=2048,
        drift=1.0,
        ratio_to_first=Ratio(1.5, 1.4, 1.6),
        stages={stage: summarize([1.0, 2.0]) for stage in STAGES},
        profile=Profile("models/a.tflite", 2, 5, 9.0, (Operator("Conv <x>", "#0", 8.0, 1, 0),)),
    )
    bigger = replace(result, model="models/b.tflite", input_size=(640, 640), profile=None)
    host = Machine("host", **machine)  # type: ignore[arg-type]
    return Report("2026-01-01T00:00:00+00:00", {"runs": 20}, (host,), (result, bigger))


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    original = make_report(environment={"cpu": "x"}, warnings=("busy",))
    original.save(tmp_path / "benchmark.json")
    assert Report.load(tmp_path / "benchmark.json") == original


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is not JSON"),
        ("[]", "has schema None"),
        ('{"schema": 3}', r"has schema 3 and this version reads \(1, 2\)"),
        ('{"schema": 1}', "malformed"),
        (
            '{"schema": 1, "created": "", "settings": {}, "machines": [{}], "results": [], "complete": true}',
            "malformed",
        ),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "benchmark.json"
    path.write_text(content)
    with pytest.raises(MaskConverError, match=f"benchmark.json: .*{message}"):
        Report.load(path)
    with pytest.raises(MaskConverError, match="cannot be read"):
        Report.load(tmp_path / "missing.json")


def test_the_page_stands_alone_and_shows_every_plot() -> None:
    page = report.to_html(make_report())
    assert page.count("<svg") == 5
    for part in ("Latency distribution", "256 and 640", "Stages", "By type", "Slowest", "Conv &lt;x&gt;"):
        assert part in page
    for part in ("By photograph", "a.jpg", "b&lt;.jpg", "all stages together"):
        assert part in page
    for part in ("<script", "<link", "http://", "https://", "Conv <x>", "b<.jpg"):
        assert part not in page


def test_the_table_tells_the_pictures_from_the_noise() -> None:
    header, line, _ = report.rows(make_report())
    cells = dict(zip(header, line, strict=True))
    assert (cells["median ms"], cells["p90 ms"]) == ("15.30", "19.38")
    assert (cells["slowest photograph"], cells["noise ms"], cells["photographs"]) == ("20.40 b<.jpg", "0.30", "2")


def test_a_model_on_noise_has_its_runs_in_the_table() -> None:
    plain = make_report()
    bare = replace(plain, results=(replace(plain.results[0], photos=(), invoke=summarize([1.0, 2.0, 3.0])),))
    header, line = report.rows(bare)
    cells = dict(zip(header, line, strict=True))
    assert (cells["median ms"], cells["noise ms"]) == ("2.00", "1.00")
    assert (cells["slowest photograph"], cells["photographs"]) == ("", "")
    assert "By photograph" not in report.to_html(bare)


def test_partial_reports_and_errors_are_told() -> None:
    partial = replace(make_report(error="device X: <gone>"), complete=False)
    page = report.to_html(partial)
    assert "This report is partial" in page
    assert "device X: &lt;gone&gt;" in page


def test_emulated_machines_show_no_time() -> None:
    emulated = make_report(1234.5, emulated=True)
    page = report.to_html(emulated)
    assert "<svg" not in page
    assert "1234" not in page
    assert all(line[2:12] == ["emulated"] * 10 for line in list(report.rows(emulated))[1:])


def test_an_empty_report_is_still_a_page() -> None:
    empty = Report("now", {}, (Machine("host", error="failed"),), (), complete=False)
    assert "host: failed" in report.to_html(empty)


def test_a_result_with_some_stages_only_is_left_out_of_their_plot() -> None:
    whole = make_report()
    partial = replace(whole.results[0], stages={"merge": summarize([1.0])})
    assert "Stages" not in report.to_html(replace(whole, results=(partial,)))
    assert "Stages" in report.to_html(replace(whole, results=(partial, whole.results[1])))


def test_plots_scale_to_the_longest_row() -> None:
    plot = svg.bars([("short", 5.0), ("long", 10.0)], "ms")
    widths = [float(part.split('"')[0]) for part in plot.split('width="')[1:]]
    assert widths[1] == pytest.approx(2 * widths[0])
    assert "10 ms" in plot
    averages = Statistics(count=4, mean=2.0, std=0.1, min=1.9, max=2.2)
    assert svg.boxes([("only averages", averages, ())], "ms").count('class="range"') == 2
    assert "<svg" in svg.bars([("zero", 0.0)], "ms")


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (10.0, 20.0, "slower"),
        (20.0, 10.0, "faster"),
        (10.0, 10.3, "no difference"),
    ],
)
def test_verdicts(old: float, new: float, verdict: str) -> None:
    found = compare.compare_reports(make_report(old), make_report(new))
    assert [c.verdict for c in found] == [verdict] * 2
    assert found[0].ratio == pytest.approx(new / old, rel=0.02)


def test_no_verdict_where_the_spread_forbids_it() -> None:
    noisy = [10.0, 20.0, 30.0, 40.0]
    before, after = make_report(), make_report()
    bare = replace(before.results[0], photos=())
    wide = replace(bare, invoke=summarize(noisy))
    slow = replace(bare, invoke=summarize([v * 1.3 for v in noisy]))
    averages = replace(bare, invoke=Statistics(count=9, mean=99.0, std=1.0, min=9.0, max=99.9))
    pairs = [(wide, slow), (wide, averages)]
    for one, other in pairs:
        found = compare.compare_reports(replace(before, results=(one,)), replace(after, results=(other,)))
        assert [c.verdict for c in found] == ["unclear"]
    emulated = compare.compare_reports(make_report(1.0), make_report(9.0, emulated=True))
    assert {c.verdict for c in emulated} == {"emulated"}


def test_photographs_are_compared_one_by_one() -> None:
    """One of two photographs is slower beyond doubt: that is no majority. Only those that both reports have count."""
    old, new = make_report(10.0), make_report(20.0)
    fast, slow = old.results[0].photos, new.results[0].photos
    mixed = replace(new, results=(replace(new.results[0], photos=(slow[0], fast[1])),))
    (found,) = compare.compare_reports(replace(old, results=old.results[:1]), mixed)
    assert (found.verdict, found.ratio) == ("unclear", pytest.approx(1.5, rel=0.02))
    alone = replace(new, results=(replace(new.results[0], photos=slow[:1]),))
    (found,) = compare.compare_reports(old, alone)
    assert (found.verdict, found.old_ms, found.new_ms) == ("slower", pytest.approx(10.2), pytest.approx(20.2))


def test_one_run_of_a_photograph_allows_no_verdict() -> None:
    old, new = (
        replace(full, results=(replace(full.results[0], photos=by_photo(["a", "b"], [ms, 2 * ms])),))
        for full, ms in ((make_report(), 1.0), (make_report(), 3.0))
    )
    assert [c.verdict for c in compare.compare_reports(old, new)] == ["unclear"]


def test_reports_of_schema_1_are_still_read(tmp_path: Path) -> None:
    """They ran on noise: among themselves they compare as ever, with others there is no verdict."""
    for name, milliseconds in (("old", 10.0), ("slow", 20.0)):
        document = json.loads(make_report(milliseconds).to_json())
        document["schema"] = 1
        for result in document["results"]:
            del result["photos"]
            result["invoke"] = vars(summarize([milliseconds] * 5))
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    old, slow = (Report.load(tmp_path / f"{name}.json") for name in ("old", "slow"))
    assert old.results[0].photos == ()
    assert [c.verdict for c in compare.compare_reports(old, slow)] == ["slower"] * 2
    mixed = compare.compare_reports(old, make_report(20.0))
    assert [(c.verdict, c.old_ms) for c in mixed] == [("other pictures", 10.0)] * 2


def test_models_of_one_name_are_not_each_other() -> None:
    """A/model.tflite and B/model.tflite in one report: each has its own row, title and counterpart."""
    fast, slow = make_report(10.0), make_report(20.0)

    def both(folder: str, first: Report, second: Report) -> Report:
        pairs = zip("AB", (first, second), strict=True)
        return replace(
            first,
            results=tuple(replace(one.results[0], model=f"{folder}/{name}/model.tflite") for name, one in pairs),
        )

    before, after = both("/old", fast, slow), both("/new", fast, fast)
    found = compare.compare_reports(before, after)
    assert [(c.title.split(",")[0], c.verdict) for c in found] == [
        ("host: A/model.tflite", "no difference"),
        ("host: B/model.tflite", "faster"),
    ]
    titles = [line[1].split(",")[0] for line in report.rows(before)][1:]
    assert titles == ["A/model.tflite", "B/model.tflite"]
    page = report.to_html(before)
    assert "A/model.tflite, litert" in page
    assert "/old/A/model" not in page


def test_what_was_measured_twice_is_paired_in_order() -> None:
    slow, fast = make_report(20.0).results[0], make_report(10.0).results[0]
    twice = replace(make_report(), results=(slow, fast))
    assert [c.verdict for c in compare.compare_reports(twice, twice)] == ["no difference"] * 2


def test_thinned_dots_keep_the_ends() -> None:
    samples = [5.0] * 1000
    samples[333], samples[777] = 1.0, 9.0
    shown = svg._thinned(samples)
    assert (min(shown), max(shown)) == (1.0, 9.0)
    assert len(shown) < 510


def test_sizes_in_titles_are_those_of_the_models() -> None:
    found = make_report()
    other = replace(
        found, results=tuple(replace(r, input_size=(s, s)) for r, s in zip(found.results, (96, 128), strict=True))
    )
    assert "96 and 128 pixels, side by side" in report.to_html(other)


def test_reports_with_nothing_in_common() -> None:
    old = make_report()
    other = replace(old, results=tuple(replace(result, threads=8) for result in old.results))
    with pytest.raises(MaskConverError, match="no measurement in common"):
        compare.compare_reports(old, other)


@pytest.mark.parametrize(("new", "code"), [(10.0, 0), (30.0, 1), (3.0, 0)])
def test_compare_on_the_command_line(tmp_path: Path, new: float, code: int) -> None:
    for name, milliseconds in (("old", 10.0), ("new", new)):
        make_report(milliseconds).save(tmp_path / f"{name}.json")
    arguments = ["compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]
    assert CliRunner().invoke(command, arguments, standalone_mode=False).return_value == code


def test_benchmark_on_the_command_line(tiny: Path, tmp_path: Path) -> None:
    arguments = [
        str(tiny),
        str(tiny),
        "--runs",
        "3",
        "--threads",
        "1,2",
        "--profile",
        "--output",
        str(tmp_path / "out"),
    ]
    CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    found = Report.load(tmp_path / "out" / "benchmark.json")
    assert [result.threads for result in found.results] == [1, 1, 2, 2]
    assert found.machines[0].environment["packages"]["numpy"]
    assert all(result.load_warm_ms for result in found.results)
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text())["schema"] == 2
    assert found.results[0].warnings[-1].startswith("ran on noise")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["benchmark.html", "benchmark.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpu"], "--gpu is for devices; add --adb"),
        (["--serial", "X"], "--serial is for devices"),
        (["--adb", "--serial", "X", "--all-devices"], "contradict"),
        (["--verify"], "--verify is for devices"),
        (["--no-half-precision"], "--half-precision is for devices"),
        (["--adb", "--verify", "--benchmark-binary", "x"], "--verify is for the app; leave --benchmark-binary out"),
        (["--adb", "--app", "x.apk", "--benchmark-binary", "x"], "--app is for the app"),
        (["--images", "nowhere"], "nowhere: no such image"),
        (["--sizes", "256"], "no model given takes images of 256 pixels"),
    ],
)
def test_options_that_make_no_sense(tiny: Path, options: list[str], message: str) -> None:
    done = CliRunner().invoke(command, [str(tiny), *options], standalone_mode=False)
    assert isinstance(done.exception, MaskConverError | click.UsageError)
    assert message in str(done.exception)


def test_a_folder_stands_for_its_models(tiny: Path, tmp_path: Path) -> None:
    arguments = [str(tiny.parent), "--runs", "1", "--output", str(tmp_path / "out")]
    CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    assert len(Report.load(tmp_path / "out" / "benchmark.json").results) == 1
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(command, [str(tmp_path / "empty")], standalone_mode=False)
    assert "no model file in this folder" in str(done.exception)
