"""What a person is told when the model hub cannot, or will not, answer. No client and no network in here."""

from __future__ import annotations

from typing import Literal

from engines.errors import (
    HubAccessError,
    HubBusyError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
    ModelFileError,
)

Refusal = Literal["name", "revision", "file", "gated", "repository"]
"""What the hub's client makes of an answer, where it makes anything of it."""

DETAILS_CHARACTERS = 2000


def explain_refusal(kind: Refusal | None, status: int, repository: str, name: str, reason: str) -> HubError:
    """The error for an answer that is none: by its kind, else by its HTTP status (0: there was no request)."""
    details = f"{name}: {reason.strip()}"[:DETAILS_CHARACTERS]
    match kind, status:
        case "name", _:
            title = f"{repository[:100]} is not the name of a repository."
            return HubNotFoundError(title, "Names look like owner/model.", details)
        case "revision", _:
            return HubNotFoundError(f"{repository} has no such version.", "Leave the version out.", details)
        case "file", _:
            title = f"{name} is not in this repository any more."
            return HubNotFoundError(title, "Look at its files again.", details)
        case ("gated", _) | (_, 403):
            return HubAccessError(
                f"The authors of {repository} want to be asked before anybody downloads it.",
                "Ask for access on its page on the hub and log in with hf auth login, or choose another repository.",
                details,
            )
        case ("repository", _) | (_, 401 | 404):
            return HubNotFoundError(
                f"The model hub shows no {repository}.",
                "Check the spelling. If it is private, log in with hf auth login.",
                details,
            )
        case _, 429:
            title = "The model hub wants to be asked less often."
            return HubBusyError(title, "Wait some minutes and try again.", details)
        case _, 500 | 502 | 503 | 504:
            return HubUnreachableError("The model hub has a problem of its own.", "Try again later.", details)
        case _:
            return odd_answer(details)


def odd_answer(reason: str) -> HubError:
    """For an answer that makes no sense."""
    return HubError(
        "The model hub gave an answer that Snug does not understand.",
        "Try again later, or update Snug.",
        reason[:DETAILS_CHARACTERS],
    )


def changed(reason: str) -> HubError:
    """For two answers that do not belong to the same file."""
    return HubError("The model on the hub changed while it was looked at.", "Try again.", reason)


def switched_off(reason: str) -> HubUnreachableError:
    """For a computer whose owner wants no questions to the hub."""
    return HubUnreachableError(
        "Asking the model hub is switched off on this computer.",
        "Take HF_HUB_OFFLINE out of the environment that Snug is started in.",
        reason,
    )


def unreachable(reason: str) -> HubUnreachableError:
    """For a question that found nobody."""
    return HubUnreachableError(
        "The model hub cannot be reached.", "Check your internet connection and try again.", reason
    )


def unusable(name: str, error: ModelFileError) -> ModelFileError:
    """For a file that is broken where it lies; downloading it again would not help."""
    return ModelFileError(
        f"The model on the hub is not usable: {name} is damaged or incomplete.",
        "Choose another build of this model.",
        f"{error.title} {error.details}",
    )
