"""What "Load onto" offers, and what each choice means as a map_location. No widgets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ckpt_viewer.core.location import STORAGE_WORD, Locator, MapLocation, known_tag
from ckpt_viewer.core.text import escape_text, shorten

AS_SAVED, CPU, RULES = "as-saved", "cpu", "rules"
KNOWN_TARGETS = ("cpu", "cuda:0", "cuda:1", "mps", "xpu:0", "hpu:0", "mtia:0", "meta")
TAGS_SHOWN = 3


class Choice(NamedTuple):
    """One entry of the box.

    Attributes:
        text: as shown. spec: as the command line spells it; ``"rules"`` opens the table, ``""`` cannot be chosen.
        hint: a sentence for the tool tip. separated: whether a line stands above it.
    """

    text: str
    spec: str
    hint: str
    separated: bool = False


def choices(
    tags: Sequence[str | None], devices: Mapping[str, str] | None, note: str, current: MapLocation
) -> list[Choice]:
    """Return what the box offers for a file with these device tags.

    Args:
        devices: of this machine, tag -> name; None while they are not known, and `note` says why.
        current: what is chosen now; a table of rules gets an entry of its own.
    """
    offered = [
        Choice(
            as_saved_text(tags, devices), AS_SAVED, "As torch.load does without map_location: onto the saved device."
        ),
        Choice("CPU (works everywhere)", CPU, "Every tensor onto the CPU, whatever it was saved on."),
    ]
    if devices is None:
        offered.append(Choice(f"{note[:1].upper()}{note[1:]} …" if "looking" in note else note, "", note))
    else:
        offered += [
            Choice(_device_text(tag, name), tag, f"Every tensor onto {escape_text(tag)} of this computer.")
            for tag, name in devices.items()
            if tag != "cpu" and known_tag(tag)
        ]
    spec = Locator(current).text
    if isinstance(current, str) and spec not in [each.spec for each in offered]:
        offered.append(Choice(f"{escape_text(spec)} (not on this computer)", spec, "Chosen when the file was opened."))
    offered.append(
        Choice(
            "Storage as read", STORAGE_WORD, "lambda storage, location: storage: leaves each storage on the CPU.", True
        )
    )
    if current is not None and not isinstance(current, str) and spec != STORAGE_WORD:
        offered.append(Choice(f"Rules: {rules_text(spec)}", spec, "What the table of rules says."))
    offered.append(Choice("Rules …", RULES, "Choose a device for each tag in the file."))
    return offered


def _device_text(tag: str, name: str) -> str:
    return f"{escape_text(tag)} ({shorten(escape_text(name), 40)})" if name else escape_text(tag)


def as_saved_text(tags: Sequence[str | None], devices: Collection[str] | None) -> str:
    """Return ``As saved (cuda:1, not on this computer)``."""
    named = [tag for tag in tags if tag is not None]
    if not named:
        return "As saved"
    away = [tag for tag in named if devices is not None and tag not in (*devices, "cpu", "meta")]
    if not away:
        return f"As saved ({_tags_text(named)})"
    if len(away) == len(named):
        return f"As saved ({_tags_text(named)}, not on this computer)"
    here = [tag for tag in named if tag not in away]
    return f"As saved ({_tags_text(here)}; not on this computer: {_tags_text(away)})"


def _tags_text(tags: Sequence[str]) -> str:
    shown = ", ".join(shorten(escape_text(tag), 24) for tag in tags[:TAGS_SHOWN])
    return shown + (f" and {len(tags) - TAGS_SHOWN} more" if len(tags) > TAGS_SHOWN else "")


def rules_text(spec: str) -> str:
    """Return a table as a person reads it: ``cuda:1 → cpu, cuda:2 → cpu``."""
    pairs = [rule.rpartition("=") for rule in spec.split(",")]
    return shorten(", ".join(f"{escape_text(tag)} → {escape_text(target)}" for tag, _, target in pairs), 48)


def targets_to_offer(devices: Sequence[str] | None) -> list[str]:
    """Return the devices that a rule can map onto: this machine's first, then those that torch knows by name."""
    here = [each for each in devices or () if known_tag(each)]
    return list(dict.fromkeys(["cpu", *here, *KNOWN_TARGETS]))
