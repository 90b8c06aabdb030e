import pytest

from engines.backends.scripted.script import Failure, read_script
from engines.errors import EngineError, ModelFileError, UnsupportedModelError


def test_a_script_has_defaults_for_everything_but_its_replies(write_script):
    script = read_script(write_script('[[reply]]\ntext = "Hello"\n'))
    assert script.reply[0].text == "Hello"
    assert (script.context_tokens, script.choose, script.token_bytes, script.can_think) == (2048, "turn", 0, None)
    assert script.load.fails is None and script.prompt.batch_seconds == 0.0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "reply = []",
        "[[reply]]\ntext = 5\n",
        '[[reply]]\ntxet = "Hello"\n',
        '[[reply]]\n[reply.misbehaves]\nhow = "explode"\n',
        'choose = "mood"\n[[reply]]\ntext = ""\n',
        "not toml at all",
    ],
)
def test_a_script_with_a_mistake_is_a_damaged_model(write_script, body):
    with pytest.raises(ModelFileError) as caught:
        read_script(write_script(body))
    assert caught.value.details


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text('format = 2\n[[reply]]\ntext = "Hello"\n')
    with pytest.raises(ModelFileError):
        read_script(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelFileError):
        read_script(path)


def test_a_missing_file_and_a_folder_have_their_own_sentences(tmp_path):
    with pytest.raises(ModelFileError, match="not there any more"):
        read_script(tmp_path / "missing.toml")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_script(tmp_path)


def test_a_failure_names_any_error_there_is():
    error = Failure(code="unsupported_model", title="T", advice="A", details="D").error()
    assert type(error) is UnsupportedModelError and error.details == "D"
    assert type(Failure().error()) is EngineError
