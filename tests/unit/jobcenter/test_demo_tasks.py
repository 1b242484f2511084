"""The demo's jobs, called as the plain functions they are, and the counting, drawing and sieving behind them."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from jobcenter.demo import library, mandelbrot, primes, tasks
from jobs import JobTask
from jobs.exceptions import JobAborted, JobFailed
from jobs.execution import context
from jobs.execution.context import JobContext

pytestmark = pytest.mark.unit


@pytest.fixture
def running() -> Iterator[JobContext]:
    """A stand-in for the running job, at its first attempt; `Task.run` tells it what it has to say."""
    stand_in = JobContext(attempt=1)
    token = context.bind(stand_in)
    yield stand_in
    context.unbind(token)


@pytest.fixture
def small_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of one package with two files and tests that do not count."""
    monkeypatch.setattr(library, "ROOT", tmp_path)
    (tmp_path / "json" / "tests").mkdir(parents=True)
    (tmp_path / "json" / "__init__.py").write_text("# -*- coding: latin-1 -*-\nname = 'M\xfcller'\n", "latin-1")
    (tmp_path / "json" / "tests" / "__init__.py").write_text("def test_nothing(): ...\n")
    (tmp_path / "json" / "decoder.py").write_text(
        "class Decoder:\n"
        "    async def decode(self):\n"
        "        if self:\n"
        "            def inner():\n"
        "                return lambda: 1\n"
        "        return inner\n"
        "def empty(): pass\n"
    )
    return tmp_path


def test_a_package_is_counted_without_its_tests(small_library: Path) -> None:
    figures = library.count_package("json")
    assert (figures.files, figures.lines, figures.words, figures.functions) == (2, 9, 25, 3)
    assert figures.longest == (
        library.Function(5, "Decoder.decode", "json/decoder.py", 2),
        library.Function(2, "Decoder.decode.inner", "json/decoder.py", 4),
        library.Function(1, "empty", "json/decoder.py", 7),
    )


def test_only_what_is_there_can_be_counted(small_library: Path) -> None:
    assert library.packages() == ["json"]
    assert library.sources("asyncio") == []
    assert library.sources("../json") == []


def test_figures_keep_the_longest_functions_only() -> None:
    functions = tuple(library.Function(lines, "f", "x.py", lines) for lines in (50, 40, 30, 20, 10))
    both = library.Figures(files=1, longest=functions[:3]) + library.Figures(files=2, longest=(functions * 2)[3:])
    assert both.files == 3
    assert [function.lines for function in both.longest] == [50, 50, 40, 40, 30]


def test_indexing_tells_the_numbers_of_the_real_library() -> None:
    told = tasks.index_package("json")
    assert told == {"package": "json", **library.count_package("json").as_data()}
    assert told["files"] == len(list(Path(library.ROOT, "json").glob("*.py")))
    assert told["longest"][0]["lines"] > 100


def test_indexing_says_how_far_it_is(running: JobContext, small_library: Path) -> None:
    tasks.index_package.run("json")
    said, lines = running.outbox.take()
    assert (said["progress"], said["stage"], said["message"]) == (50.0, "json/decoder.py", "1 of 2 files")
    assert [text for _, _, text in lines] == [
        "json/__init__.py: 2 lines, 0 functions",
        "json/decoder.py: 7 lines, 3 functions",
    ]


@pytest.mark.parametrize("task", [tasks.index_package, tasks.draw_mandelbrot])
def test_a_name_that_does_not_exist_is_a_failure_with_a_hint(task: JobTask) -> None:
    word, meant = ("jsn", "json") if task is tasks.index_package else ("a spiril", "a spiral")
    with pytest.raises(JobFailed, match=f"'{word}'.*Did you mean '{meant}'") as failed:
        task(word)
    assert failed.value.category == "input"


def test_a_picture_comes_as_a_png_that_a_page_can_show() -> None:
    told = tasks.draw_mandelbrot("the whole set", width=30, height=20)
    assert told["type"] == "image/png"
    with Image.open(io.BytesIO(base64.b64decode(told["base64"])), formats=["PNG"]) as picture:
        assert picture.size == (30, 20)
        assert picture.convert("RGB").getpixel((18, 10)) == (0, 0, 0), "the middle belongs to the set"
        assert picture.convert("RGB").getpixel((0, 0)) != (0, 0, 0), "the corner does not"


@pytest.mark.parametrize("damage", [b"", b"no picture", "cut"])
def test_what_is_no_png_is_noticed(damage: bytes | str) -> None:
    rows = [mandelbrot.row(mandelbrot.PLACES["a spiral"], 60, 40, number) for number in range(40)]
    whole = mandelbrot.png(rows, 60, 40)
    assert mandelbrot.measure(whole)[:2] == (60, 40)
    with pytest.raises(ValueError, match="no PNG"):
        mandelbrot.measure(whole[: len(whole) // 2] if isinstance(damage, str) else damage)


def test_the_set_is_the_same_above_and_below_the_axis() -> None:
    place = mandelbrot.PLACES["the whole set"]
    above, below = (mandelbrot.row(place, 40, 30, number) for number in (9, 21))
    assert above == below
    assert mandelbrot.INSIDE in above


def test_a_check_that_finds_something_fails_with_what_it_found(small_library: Path) -> None:
    with pytest.raises(JobFailed, match="json has lines longer than 30 characters: 1") as failed:
        tasks.check_line_length("json", 30)
    assert failed.value.category == "style"
    assert failed.value.retry is False
    assert failed.value.result == {
        "limit": 30,
        "count": 1,
        "lines": [{"file": "json/decoder.py", "line": 5, "length": 32}],
    }


def test_a_check_that_finds_nothing_passes(small_library: Path) -> None:
    assert tasks.check_line_length("json", 79) == {"limit": 79, "files": 2}


def test_the_second_try_succeeds_and_only_that(running: JobContext) -> None:
    with pytest.raises(TimeoutError):
        tasks.second_try.run()
    running.attempt = 2
    assert tasks.second_try.run() == {"attempt": 2}
    assert tasks.second_try.options.max_retries == 2


@pytest.mark.parametrize("step", [2, 10, 98, 1000, 2_000_000])
def test_twin_primes_do_not_depend_on_the_step(step: int) -> None:
    assert list(primes.twins(1000, step))[-1] == primes.Found(1000, 35)


def test_twin_primes_go_on_from_where_they_were() -> None:
    half = list(primes.twins(100_000, 7000))[6]
    assert list(primes.twins(100_000, 1000, half))[-1] == list(primes.twins(100_000))[-1]


def test_twin_primes_are_counted_as_far_as_asked() -> None:
    assert tasks.count_twin_primes(1_000_000) == {"below": 1_000_000, "pairs": 8169}


def test_long_work_stops_when_it_is_asked_to(running: JobContext) -> None:
    running.outbox.stop_reason = "seen enough"
    with pytest.raises(JobAborted, match="seen enough"):
        tasks.count_twin_primes.run()
