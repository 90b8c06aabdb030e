import inspect

import pytest

from engines import errors
from engines.errors import EngineError, from_code

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, EngineError)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_survives_the_pipe(cls):
    error = cls("Title.", "Advice.", "Details.")
    again = from_code(error.code, error.title, error.advice, error.details)
    assert type(again) is cls
    assert (again.title, again.advice, again.details) == ("Title.", "Advice.", "Details.")


def test_codes_are_unique():
    assert len({cls.code for cls in CLASSES}) == len(CLASSES) > 5


def test_an_unknown_code_is_a_plain_error():
    error = from_code("from_the_future", "Title.", "", "")
    assert type(error) is EngineError and error.code == "internal"


def test_what_a_person_reads_is_title_and_advice():
    assert str(EngineError("It broke.", "Mend it.", "stack")) == "It broke. Mend it."
    assert str(EngineError("It broke.")) == "It broke."
