"""Which failures are alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.execution.failures.fingerprints import normalised, of_error, of_text


def _raised(body: Callable[[], object]) -> BaseException:
    try:
        body()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it did not raise")


def _place(message: object) -> Callable[[], object]:
    def there() -> None:
        raise ValueError(message)

    return there


def _other_place() -> None:
    raise ValueError("row 5")


def _chained(cause: Exception) -> Callable[[], object]:
    def there() -> None:
        try:
            raise cause
        except Exception as error:
            raise ValueError("wrapped") from error

    return there


def _recursion(depth: int) -> None:
    if not depth:
        raise ValueError("deep")
    _recursion(depth - 1)


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 5: no date", "row 17: no date"),
        ("took 1.5 s", "took 12.25 s"),
        ("job 01a2009f-084d-708c-b68a-cf56eeae8ffd is gone", "job 2A5EB0A1-A733-41DF-B56F-C3783A600139 is gone"),
        ("at 0x7f3a2b", "at 0xdeadbeef"),
        ("/srv/a/file.csv is empty", "/data/customers/b.csv is empty"),
        ("C:\\x\\y.txt", "D:\\other\\z.txt"),
        ("commit 9fceb02d0ae598e95dc970b7", "commit 83baae61804e65cc73a7201a"),
        ("GET https://a.example/x?y=1 failed", "GET https://b.example/z failed"),
        ("a  b\n c", "a b c"),
    ],
)
def test_what_differs_from_time_to_time_does_not_count(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert of_error(_raised(_place(one))) == of_error(_raised(_place(other)))
    assert of_text("X", one) == of_text("X", other)


def test_words_count() -> None:
    assert normalised("no such customer") != normalised("no such order")
    assert normalised("and/or is a word, 10/m a rate") == "and/or is a word, <n>/m a rate"
    assert of_text("X", "no") != of_text("Y", "no")


def test_place_kind_and_cause_count() -> None:
    here = of_error(_raised(_place("row 5")))
    assert here == of_error(_raised(_place("row 6")))
    assert here != of_error(_raised(_other_place))
    assert here != of_error(_raised(lambda: int("row 5")))
    assert of_error(_raised(_chained(KeyError(1)))) == of_error(_raised(_chained(KeyError(2))))
    assert of_error(_raised(_chained(KeyError(1)))) != of_error(_raised(_chained(OSError())))


def test_lines_and_directories_do_not_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    marks = set()
    for empty_lines in (0, 7):
        file = tmp_path_factory.mktemp("place") / "task.py"
        source = "\n" * empty_lines + "def work():\n    raise ValueError('no')\n"
        names: dict[str, Callable[[], object]] = {}
        exec(compile(source, str(file), "exec"), names)  # noqa: S102 - the same code elsewhere, on other lines
        marks.add(of_error(_raised(names["work"])))
    assert len(marks) == 1


def test_a_recursion_counts_once_however_deep() -> None:
    assert of_error(_raised(lambda: _recursion(10))) == of_error(_raised(lambda: _recursion(700)))


def test_it_never_raises_and_is_short() -> None:
    for error in (
        _UnspeakableError(),
        ValueError("\0\ud800"),
        ValueError("9" * 10**6),
        ExceptionGroup("g", [OSError()]),
    ):
        mark = of_error(error)
        assert len(mark) == 16
        assert int(mark, 16) >= 0


def test_an_exception_that_is_its_own_cause_comes_to_an_end() -> None:
    error = ValueError("round")
    error.__cause__ = error
    assert of_error(error)
