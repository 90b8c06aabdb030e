import dataclasses
import typing

import pytest

from engines import client
from engines.client_values import ClientEvent, ClientState, Crashed, RequestFailed, StateChanged
from engines.errors import EngineError

CLASSES = [*typing.get_args(ClientState), *typing.get_args(ClientEvent)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_states_and_events_cannot_be_changed(cls):
    """They go from thread to thread without copies."""
    frozen = cls.__dataclass_params__.frozen if dataclasses.is_dataclass(cls) else cls.__struct_config__.frozen
    assert frozen


def test_events_compare_by_value():
    error = EngineError("It broke.")
    assert StateChanged(Crashed(error, restarting=True)) == StateChanged(Crashed(error, restarting=True))
    assert StateChanged(Crashed(error, restarting=True)) != StateChanged(Crashed(error, restarting=False))
    assert RequestFailed(1, error) != RequestFailed(2, error)


def test_the_client_hands_them_all_on():
    own = {cls.__name__ for cls in CLASSES if cls.__module__ == "engines.client_values"}
    assert own | {"ClientEvent", "ClientState"} <= set(client.__all__)
