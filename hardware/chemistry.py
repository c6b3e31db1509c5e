"""What may touch what: which agents, in which order, for one chemistry on one garment; or why a person must do it.

The tables come from `hardware/chemistry.toml` and the shop's own file (`hardware.chemistry_file`). The floor is asked
again at every decision, whatever wrote the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hardware.garment import Garment
from model.taxonomy import ALWAYS_TO_A_PERSON, CHEMISTRIES

STAGES: Final = ("dry", "flush", "neutral", "acid", "enzyme", "alkali", "bleach")
"""The spotters' safe order: dry side before wet, tannin (acid) before protein (alkali), bleach last. Flushes with
water come between. Sources: natclo_eisen, nca_order and cm_oil in chemistry.toml."""

STAGE_OF_KIND: Final[Mapping[str, str]] = {
    "water": "flush",
    "neutral": "neutral",
    "acid": "acid",
    "enzyme": "enzyme",
    "alkali": "alkali",
    "oxidiser": "bleach",
    "reducer": "bleach",
    "hypochlorite": "bleach",
    "dry_solvent": "dry",
    "oily_remover": "dry",
    "ketone": "dry",
    "alcohol": "dry",
}
DRY: Final = frozenset(kind for kind, stage in STAGE_OF_KIND.items() if stage == "dry")
GENTLE: Final = frozenset({"water", "neutral"})

FIBRES: Final = (
    "cotton", "linen", "viscose", "acetate", "silk", "wool", "polyester", "polyamide", "elastane", "leather", "unknown",
)  # fmt: skip

_BLEACHING: Final = {"oxidiser": ("oxygen_only", "any"), "reducer": ("any",), "hypochlorite": ("any",)}
"""The ISO 3758 bleaching symbols that allow a kind. The label is silent on reducers, so only the widest allows them."""
_SOLVENT_LABELS: Final = ("P", "F")
"""ISO 3758: P and F allow hydrocarbon solvents."""


class Reason(StrEnum):
    """Why a cell goes to a person."""

    UNSURE = "unsure"
    SOURCE = "source"
    BLEEDS = "bleeds"
    LABEL = "label"
    NO_ROW = "no_row"
    UNSIGNED = "unsigned"
    FORBIDDEN = "forbidden"
    TOUCHES = "touches"
    MACHINE = "machine"
    REACH = "reach"
    CAP = "cap"


@dataclass(frozen=True)
class HandOver:
    """A cell that no machine treats, with the reason for a person."""

    reason: Reason
    why: str


@dataclass(frozen=True)
class Figure:
    """A number with its mark (published, derived, assumption, or shop) and the key of its source."""

    value: float
    mark: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """What a bottle holds.

    Args:
        kind: decides what it may touch and when its turn is (`STAGE_OF_KIND`).
        ul_per_mm2: dose per stained mm².
        dwell_s: how long it works before the next step; None = no figure, so none is claimed.
        passes: how often it is applied in a row, each with its dwell.
        agitation: "tamp" or "none".
        extract: vacuum after it.
        flammable: its vapour must be drawn off.
    """

    name: str
    kind: str
    ul_per_mm2: Figure
    dwell_s: Figure | None = None
    passes: Figure | None = None
    agitation: str = "none"
    extract: bool = False
    flammable: bool = False

    @property
    def stage(self) -> str:
        """Where it stands in the safe order."""
        return STAGE_OF_KIND[self.kind]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Agents in order for one chemistry on some fibres, and what that rests on."""

    id: str
    chemistry: str
    fibres: tuple[str, ...]
    steps: tuple[str, ...]
    mark: str
    sources: tuple[str, ...] = ()
    signed_by: str | None = None

    @property
    def usable(self) -> bool:
        """Published, or signed by the shop."""
        return self.mark == "published" or self.signed_by is not None


@dataclass(frozen=True, kw_only=True)
class Never:
    """Kinds that never touch some fibres, or never some chemistries."""

    kinds: frozenset[str]
    why: str
    fibres: frozenset[str] = frozenset()
    chemistries: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Below this nobody goes, a shop's file included.

    Args:
        application_ul: most on one cell at a time. cell_ul, garment_ul: most in all.
        dwell_s: longest dwell.
        fastness_agent, fastness_water: least colour fastness for an agent, and for water.
        never: kinds against fibres and chemistries. apart: kinds that never meet on one cell.
    """

    application_ul: float
    cell_ul: float
    garment_ul: float
    dwell_s: float
    fastness_agent: float
    fastness_water: float
    never: tuple[Never, ...]
    apart: tuple[tuple[frozenset[str], str], ...]

    def forbids(self, kinds: Iterable[str], fibres: Iterable[str], chemistries: Iterable[str]) -> str | None:
        """Why these kinds may not be used, in any order, on these fibres and chemistries; None = they may."""
        kinds, fibres, chemistries = frozenset(kinds), frozenset(fibres), frozenset(chemistries)
        for rule in self.never:
            if rule.kinds & kinds and (rule.fibres & fibres or rule.chemistries & chemistries):
                return f"{', '.join(sorted(rule.kinds & kinds))}: {rule.why}"
        for pair, why in self.apart:
            if pair <= kinds:
                return f"{' with '.join(sorted(pair))}: {why}"
        return None


@dataclass(frozen=True)
class Treatment:
    """What one stain gets: agents in order, passes not yet unrolled, and the row that says so."""

    row: str
    agents: tuple[Agent, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it brings onto the cloth."""
        return frozenset(agent.kind for agent in self.agents)


@dataclass(frozen=True, kw_only=True)
class Chemistry:
    """All tables of one rig, checked; see `hardware.chemistry_file.load`. `digest` names their exact content."""

    agents: Mapping[str, Agent]
    rows: tuple[Row, ...]
    mild: tuple[str, ...]
    fabrics: Mapping[str, tuple[str, ...]]
    floor: Floor
    digest: str

    def fibres(self, fabric: str | None) -> tuple[str, ...]:
        """What a cloth is made of; ("unknown",) for a name that the tables do not hold."""
        return self.fabrics.get((fabric or "").strip().lower(), ("unknown",))

    def decide(self, chemistry: str, garment: Garment, source: str | None = None) -> Treatment | HandOver:
        """What a stain of this chemistry gets on this garment.

        Args:
            chemistry: one of `CHEMISTRIES`.
            garment: what is known of it; what is not known allows water and neutral lubricant only.
            source: what the stain is, where a person has said so; rust goes to a person.
        """
        if chemistry not in CHEMISTRIES:
            raise KeyError(f"unknown chemistry {chemistry!r}; known: {', '.join(CHEMISTRIES)}")
        if source in ALWAYS_TO_A_PERSON:
            return HandOver(Reason.SOURCE, f"{source} always goes to a person")
        fastness = garment.colour_fastness
        if fastness is not None and not fastness >= self.floor.fastness_water:
            return HandOver(
                Reason.BLEEDS, f"colour fastness {fastness:g}: below {self.floor.fastness_water:g} it bleeds"
            )
        fibres = self.fibres(garment.fabric)
        choice = self._mild() if self._little_known(garment, fibres) else self._row(chemistry, fibres)
        if isinstance(choice, HandOver):
            return choice
        forbidden = self.floor.forbids(choice.kinds, fibres, (chemistry,))
        if forbidden is not None:
            return HandOver(Reason.FORBIDDEN, forbidden)
        return _label_denies(choice, garment) or choice

    def _little_known(self, garment: Garment, fibres: tuple[str, ...]) -> bool:
        washable = garment.washing is not None or garment.professional == "W"
        fast = garment.colour_fastness is not None and garment.colour_fastness >= self.floor.fastness_agent
        return "unknown" in fibres or not washable or not fast

    def _mild(self) -> Treatment:
        return Treatment("mild", tuple(self.agents[name] for name in self.mild))

    def _row(self, chemistry: str, fibres: tuple[str, ...]) -> Treatment | HandOver:
        fitting = [row for row in self.rows if row.chemistry == chemistry and set(fibres) <= set(row.fibres)]
        usable = [row for row in fitting if row.usable]
        if usable:
            row = usable[-1]  # a shop's own row comes after the built-in ones and wins
            return Treatment(row.id, tuple(self.agents[name] for name in row.steps))
        cloth = " and ".join(fibres)
        if fitting:
            return HandOver(Reason.UNSIGNED, f"row {fitting[0].id} is not published; the shop must sign it first")
        return HandOver(Reason.NO_ROW, f"no row tells how to treat {chemistry} on {cloth}")


def _label_denies(treatment: Treatment, garment: Garment) -> HandOver | None:
    """What the care label says against it. An unknown symbol allows nothing that needs one."""
    wet = treatment.kinds - DRY
    if wet and garment.washing == "none" and garment.professional != "W":
        return HandOver(Reason.LABEL, "the care label allows neither washing nor wet cleaning")
    for kind in sorted(treatment.kinds & set(_BLEACHING)):
        if garment.bleaching not in _BLEACHING[kind]:
            return HandOver(Reason.LABEL, f"the care label does not allow a bleach of kind {kind}")
    if treatment.kinds & DRY and garment.professional not in _SOLVENT_LABELS:
        return HandOver(Reason.LABEL, "the care label does not allow solvents (no P or F)")
    return None
